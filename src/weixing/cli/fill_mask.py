"""`weixing fill-mask`: likely tokens for [MASK], as a table or as JSON."""

import json
from typing import Annotated, Any

import typer

from weixing.cli.ways import BACKEND_HELP, PRECISION_HELP, say_way


def run(
    text: Annotated[str, typer.Argument(help="A text with one [MASK] or several.")],
    model: Annotated[str, typer.Option("--model", "-m", help="Model folder, run folder, hub id, shape.")] = "builtin",
    top_k: Annotated[int, typer.Option(help="Candidates for each [MASK].")] = 5,
    backend: Annotated[str, typer.Option(help=BACKEND_HELP)] = "auto",
    precision: Annotated[str, typer.Option(help=PRECISION_HELP)] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """The tokens that a model finds likeliest in the place of [MASK], with their probabilities.

    Example: weixing fill-mask 中国的首都是[MASK]京。    (by the model of the package; or --model runs/tiny)
    """
    from weixing.inference.model import load

    loaded = load(model, backend, precision)
    say_way(loaded, backend)
    candidates = loaded.fill_mask(text, top_k)
    if as_json:
        print(json.dumps(candidates, ensure_ascii=False, indent=2))
        return
    lists: list[Any] = candidates if isinstance(candidates[0], list) else [candidates]
    for number, rows in enumerate(lists, 1):
        if len(lists) > 1:
            print(f"[MASK] {number}")
        for row in rows:
            print(f"{row['score']:8.4f}  {row['token_str']}\t{row['sequence']}")
