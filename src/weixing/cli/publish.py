"""`weixing publish`: a model folder → a repository on the hub."""

import json
from pathlib import Path
from typing import Annotated

import typer


def run(
    folder: Annotated[Path, typer.Argument(help="Model folder, or run folder.")],
    to: Annotated[str, typer.Option(help="Hub id: OWNER/NAME.")],
    private: Annotated[bool, typer.Option("--private", help="A new repository is private.")] = False,
    revision: Annotated[str, typer.Option(help="Branch, made if there is none.")] = "main",
    message: Annotated[str | None, typer.Option(help="Of the commit.")] = None,
    include: Annotated[list[str] | None, typer.Option(metavar="PATTERN", help="Further files; may come again.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that are there and differ.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Upload. Without it nothing leaves this machine.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Check a model and list what would be uploaded; with --yes make the repository and upload it, in one commit.

    HF_TOKEN or `hf auth login` says who uploads, HF_ENDPOINT where to. A run that was cut off is run again: what has
    arrived is not sent a second time.

    Example: weixing publish runs/tiny --to me/tiny --yes
    """
    from weixing.progress import say
    from weixing.reporting.publish import plan, publish, summary

    planned = plan(folder, to, include or ())
    if not as_json:
        for file in planned.files:
            print(f"{file.sha256}  {file.size:>13,}  {file.path}")
        print(
            f"{len(planned.files)} files, {planned.size:,} bytes, licence {planned.license} → {to}, branch {revision}"
        )
        for left in planned.left_out:
            say(f"left out: {left.path} ({left.size:,} bytes): {left.why}")
    for note in planned.notes:
        say(f"note: {note}")
    done = None
    if yes:
        done = publish(planned, private=private, revision=revision, message=message, overwrite=overwrite)
        if done.left_there:
            say(f"note: the repository has other files besides, left alone: {', '.join(done.left_there)}")
    if as_json:
        print(json.dumps(summary(planned, revision, private, done), ensure_ascii=False))
    elif done is None:
        print("Nothing was uploaded; --yes does it.")
    elif done.sent:
        print(f"{len(done.sent)} files sent, read back and compared: {done.url}")
    else:
        print(f"All of them are there already: {done.url}")
