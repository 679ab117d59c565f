"""`weixing demo`: the whole road in a few minutes, as command lines of the other verbs, each printed as it runs."""

import contextlib
import io
import json
import shlex
import time
from pathlib import Path
from typing import Annotated, Any

import typer

SHAPE = "2/128"
STEPS = 1_800  # of 16 rows of 128: about two minutes on two cores, held-out loss 1.6 on the built-in text
QUESTION = "中国的首都是[MASK]京。"
TASKS = ("sentiment", "pairs")
FINETUNE = ("--epochs", "5", "--batch-sizes", "32", "--learning-rates", "3e-4")


def run(
    out: Annotated[Path, typer.Option(help="New folder for everything that is made.")] = Path("demo"),
    steps: Annotated[int, typer.Option(min=1, help="Pretraining steps; fewer are quicker and learn less.")] = STEPS,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 7,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the folder if it exists.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """The whole road on built-in text: corpus → shards → pretraining → export → two tasks → table → fill-mask.

    Needs no network and no data; under 4 minutes on two CPU cores. Prints every command that it runs.

    Example: weixing demo --out demo
    """
    import weixing
    from weixing.errors import UserError
    from weixing.files import atomic_file, new_folder, write_json
    from weixing.progress import duration, say
    from weixing.text.sample.generator import sample_documents

    began = time.monotonic()
    if not 0 <= seed < 2**63:
        raise UserError(f"--seed {seed}", accepted="0 to 2⁶³ - 1")
    new_folder(out, overwrite)
    write_json(out / "demo.json", {"weixing": weixing.__version__, "shape": SHAPE, "steps": steps, "seed": seed})
    # Other seeds draw other documents, of the same sentences and facts: held out by document, not by content.
    for name, size, document_seed in (("corpus", 4_000_000, seed), ("heldout", 200_000, seed + 1)):
        with atomic_file(out / f"{name}.txt") as beside, open(beside, "w", encoding="utf-8", newline="\n") as stream:
            stream.writelines(f"{document}\n" for document in sample_documents(size, document_seed))
        _verb("prepare", out / f"{name}.txt", "--out", out / name, "--json")
    run_folder = out / "pretrained"
    pretrained = _verb(
        "pretrain", "--data", out / "corpus", "--eval-data", out / "heldout", "--model", SHAPE, "--steps", steps,
        "--seed", seed, "--out", run_folder, "--json",
    )  # fmt: skip
    for task in TASKS:
        for label, model in (("pretrained", run_folder), ("untrained", SHAPE)):
            folder = out / "tuned" / f"{task}-{label}"
            _verb("finetune", "--model", model, "--task", task, "--out", folder, "--seeds", seed, *FINETUNE, "--json")
    rows = _verb("table", out / "tuned", "--format", "json")
    table = _verb("table", out / "tuned", parse=False)
    answers = _verb("fill-mask", QUESTION, "--model", run_folder, "--json")
    seconds = time.monotonic() - began
    if as_json:
        result = {"seconds": seconds, "pretrain": pretrained, "table": rows, "fill_mask": answers, "output": str(out)}
        print(json.dumps(result, ensure_ascii=False))
        return
    print(f"\n{table}\n{QUESTION}")
    for answer in answers:
        print(f"  {answer['token_str']}  {answer['score']:.3f}")
    print()
    say(f"done in {duration(seconds)}; the model is in {run_folder / 'model'}, everything else beside it in {out}")


def _verb(*words: Any, parse: bool = True) -> Any:
    """Run one command line of this program, and return what it printed."""
    from weixing.cli.main import run as weixing
    from weixing.progress import say

    arguments = [str(word) for word in words]
    say(f"\n$ weixing {shlex.join(arguments)}")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        code = weixing(arguments)
    if code:
        raise typer.Exit(code)
    return json.loads(printed.getvalue()) if parse else printed.getvalue()
