"""`weixing runs`: many runs as a table and a picture."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer


def run(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR", help="Run folders, or folders that hold some.")],
    plot: Annotated[Path | None, typer.Option(help="Draw their curves into FILE.svg or FILE.png.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the plot if it exists.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Runs of pretrain side by side: step, losses, tokens/s, time left; whether a run goes on,
    is finished, was stopped, or stands still; where its loss leapt (docs/watching.md has the rules).

    Example: weixing runs runs --plot runs.svg
    """
    import time

    from weixing.errors import UserError
    from weixing.files import require_new
    from weixing.reporting.runs import read_runs, require_folders, silent_seconds
    from weixing.reporting.runs_plot import draw_runs, require_plot
    from weixing.reporting.runs_text import as_lines
    from weixing.reporting.watching import watched

    require_folders(folders)
    if plot:
        require_plot(plot)
        require_new(plot, overwrite, folder=False)
    runs = read_runs(folders)
    if not runs:
        raise UserError(
            "there are no runs here", where=", ".join(map(str, folders)),
            accepted="run folders of `weixing pretrain`, or folders that hold some",
        )  # fmt: skip
    seen = [watched(one, silent_seconds(one.folder, time.time())) for one in runs]
    if plot:
        draw_runs(runs, seen, plot)
    print(json.dumps([asdict(one) for one in seen], ensure_ascii=False) if as_json else "\n".join(as_lines(seen)))
