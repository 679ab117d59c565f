"""`weixing card`: a model, its runs and its results → README.md in Chinese and English."""

import json
from pathlib import Path
from typing import Annotated, Literal

import typer


def run(
    model: Annotated[str, typer.Option("--model", "-m", help="Model folder, run folder, or hub id.")],
    results: Annotated[
        list[Path] | None,
        typer.Option(metavar="PATH", help="results.jsonl, or a folder of such; may come again."),
    ] = None,
    run: Annotated[Path | None, typer.Option(help="Its pretraining run. Default: the one it lies in.")] = None,
    lang: Annotated[Literal["zh", "en", "both"], typer.Option(help="Language.")] = "both",
    repo: Annotated[str | None, typer.Option(help="Hub id for the examples: OWNER/NAME. Default: the folder.")] = None,
    license: Annotated[str | None, typer.Option(help="Of the model: apache-2.0, mit, cc-by-4.0, …")] = None,
    dataset: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="Data set of the hub; may come again.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="File to write. Default: README.md of the model.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file written by hand.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Write a model's card: what it is, the 24 published ones, results, use, training as it was run, limits, licence.

    Every number comes from the model's files, its run.json and metrics.jsonl, and --results; what they do not tell is
    left out, or said to be missing.

    Example: weixing card --model runs/tiny --results tuned --license apache-2.0 --repo me/tiny
    """
    from weixing.errors import UserError
    from weixing.progress import say
    from weixing.reporting.card import README, card, write_card
    from weixing.reporting.card_facts import gather
    from weixing.reporting.card_words import LANGUAGES, counted
    from weixing.tasks.results import read_results

    if out is None and not Path(model).is_dir():
        raise UserError(f"{model} is no folder here to put a README.md in", action="Name a file: --out FILE")
    facts = gather(
        model,
        repository=repo,
        run=run,
        results=read_results(results) if results else (),
        license=license,
        datasets=dataset or (),
    )
    text = card(facts, LANGUAGES if lang == "both" else (lang,))
    file = out or facts.folder / README
    write_card(text, file, facts, overwrite)
    if facts.license is None:
        say("note: no licence was stated (--license), and `weixing publish` asks for one")
    if as_json:
        result = {
            "model": facts.name,
            "task": facts.task,
            "parameters": facts.parameters,
            "stages": len(facts.training.stages),
            "results": len(facts.own),
            "license": facts.license,
            "output": str(file),
        }
        print(json.dumps(result, ensure_ascii=False))
        return
    stages, own = counted(len(facts.training.stages), "stage"), counted(len(facts.own), "result")
    print(f"{facts.name}: {stages}, {own} of its own → {file}")
