"""`weixing table`: results → models by tasks, beside the published scores."""

import shlex
from pathlib import Path
from typing import Annotated, Literal

import typer


def run(
    results: Annotated[list[Path], typer.Argument(help="results.jsonl files, or folders that hold them.")],
    form: Annotated[Literal["markdown", "csv", "json", "html"], typer.Option("--format", help="Form.")] = "markdown",
    lang: Annotated[Literal["en", "zh"], typer.Option(help="Of headings and notes.")] = "en",
    out: Annotated[Path | None, typer.Option(help="File to write. Default: print it.")] = None,
    heat_map: Annotated[Path | None, typer.Option(help="Also draw score, size and speed as PNG.")] = None,
    heat_map_of: Annotated[str | None, typer.Option(help="Column whose score is drawn. Default: the mean.")] = None,
    speed: Annotated[Path | None, typer.Option(help="Measured speeds: CSV, shape,texts_per_second.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
) -> None:
    """Results of finetune → models by tasks, in percent, beside the published scores of models of the same shape.

    A cell gives the best run, of how many, and mean ± standard deviation over the seeds of its setting. Partial and
    altered data are marked. CSV and JSON have every number in full; HTML is one page that needs nothing else, with
    heat maps of the family, depth by width. Is a difference more than chance? See: weixing compare

    Example: weixing table tuned/ --format html --out table.html --heat-map family.png
    """
    from weixing.errors import UserError
    from weixing.files import atomic_file, require_new
    from weixing.reporting.family import maps, read_speeds
    from weixing.reporting.plot import draw
    from weixing.reporting.provenance import provenance
    from weixing.reporting.rendering import render
    from weixing.reporting.table import table
    from weixing.tasks.results import read_results, result_files

    if heat_map_of is not None and heat_map is None:
        raise UserError("there is no picture to draw", where="--heat-map-of", action="Name it with --heat-map")
    for path in (out, heat_map):
        if path is not None:
            require_new(path, overwrite, folder=False)
    entries = table(read_results(results))
    speeds = read_speeds(speed) if speed is not None else {}
    files = {file: len(read_results([file])) for file in result_files(results)}
    read = files | ({speed: len(speeds)} if speed is not None else {})
    origin = provenance(_command(results, lang, speed, out), read)
    text = render(entries, "json" if as_json else form, lang, provenance=origin, speeds=speeds)
    if heat_map is not None:
        drawn = maps(entries, speeds, heat_map_of)
        with atomic_file(heat_map) as beside:
            draw(drawn, beside, lang)
    if out is None:
        print(text, end="")
        return
    with atomic_file(out) as beside:
        beside.write_text(text, encoding="utf-8")


def _command(results: list[Path], lang: str, speed: Path | None, out: Path | None) -> str:
    """The command line that makes an HTML page again."""
    options = ["--format", "html", "--lang", lang]
    for name, path in (("--speed", speed), ("--out", out)):
        options += [name, str(path)] if path is not None else []
    return shlex.join(["weixing", "table", *map(str, results), *options, *(["--overwrite"] if out is not None else [])])
