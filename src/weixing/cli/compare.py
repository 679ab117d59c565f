"""`weixing compare`: is one model better than another, or is it chance?"""

import json
from pathlib import Path
from typing import Annotated

import typer


def run(
    first: Annotated[Path, typer.Argument(metavar="A", help="Folder of finetune, a folder of such, or predictions.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="The same, of the other model.")],
    model_a: Annotated[str | None, typer.Option(help="Which model, where A has results of several.")] = None,
    model_b: Annotated[str | None, typer.Option(help="Which model, where B has results of several.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the draws.")] = 7,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Two models on the tasks that both were fine-tuned on: difference, 95 % interval, and p-value of chance alone.

    Paired bootstrap over the dev rows, 10,000 resamples, and over the seeds where there are several; each model with
    its best setting. The settings were chosen on these same rows, which no p-value takes into account.

    Example: weixing compare tuned/tiny tuned/mini
    """
    from weixing.reporting.comparing import compare
    from weixing.reporting.comparison_text import as_text

    done = compare(first, second, first_model=model_a, second_model=model_b, seed=seed)
    print(json.dumps(done.values(), ensure_ascii=False, indent=2) if as_json else as_text(done))
