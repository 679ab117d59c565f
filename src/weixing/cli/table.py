"""`weixing table`: results → models by tasks, beside the published scores."""

from pathlib import Path
from typing import Annotated, Literal

import typer


def run(
    results: Annotated[list[Path], typer.Argument(help="results.jsonl files, or folders that hold them.")],
    form: Annotated[Literal["markdown", "csv", "json", "html"], typer.Option("--format", help="Form.")] = "markdown",
    out: Annotated[Path | None, typer.Option(help="File to write. Default: print it.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it exists.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
) -> None:
    """Results of finetune → models by tasks, in percent, beside the published scores of models of the same shape.

    A cell gives the best run, and mean ± standard deviation where its setting was run with several seeds.
    CSV and JSON have every number in full.

    Example: weixing table tuned/ other/results.jsonl --format html --out table.html
    """
    from weixing.files import atomic_file, require_new
    from weixing.reporting.rendering import render
    from weixing.reporting.table import table
    from weixing.tasks.results import read_results

    if out is not None:
        require_new(out, overwrite, folder=False)
    text = render(table(read_results(results)), "json" if as_json else form)
    if out is None:
        print(text, end="")
        return
    with atomic_file(out) as beside:
        beside.write_text(text, encoding="utf-8")
