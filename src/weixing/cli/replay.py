"""`weixing replay`: how a cheaper search would have done on grids that were run in full."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer


def run(
    results: Annotated[list[Path], typer.Argument(help="results.jsonl files, or folders that hold them.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """How `finetune --search halving` would have done on complete grids, by the scores that these gave.

    A grid of several seeds counts as one for each. Nothing is trained.

    Example: weixing replay tuned/
    """
    from weixing.tasks.results import read_results
    from weixing.tasks.search import in_words, replay

    replays = replay(read_results(results))
    if as_json:
        print(json.dumps([asdict(one) for one in replays], ensure_ascii=False, indent=1))
        return
    for one in replays:
        print(
            f"{one.model} on {one.task}, seed {one.seed}: {one.found:.2f} found, {one.best:.2f} the grid's best, "
            f"{one.cells_run} of {one.cells} cells, {one.epochs_run} of {one.epochs} epochs"
        )
    print(in_words(replays))
