"""`weixing zoo`: the 24 shapes as a table or as JSON."""

import json
from typing import Annotated

import typer

from weixing.zoo import FLOPS_PREDICTED_SHARE, FLOPS_SEQUENCE_LENGTH, ZOO, Shape


def run(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False) -> None:
    """The 24 miniatures: names, upstream ids, exact parameters (at 21,128 tokens), training FLOPs
    per token (rows of 128, 15 % masked), size on disk.

    Any other L/H with H a multiple of 64 is accepted wherever a model is named.

    Example: weixing zoo --json
    """
    if as_json:
        print(json.dumps([_row(shape) for shape in ZOO.values()], ensure_ascii=False, indent=2))
        return
    print(f"{'name':7} {'alias':7} {'parameters':>11} {'MFLOP/token':>12} {'MB (float32)':>13}  upstream id")
    for shape in ZOO.values():
        mflop = shape.training_flops_per_token(FLOPS_SEQUENCE_LENGTH, FLOPS_PREDICTED_SHARE) / 1e6
        print(
            f"{shape.name:7} {shape.alias or '':7} {shape.parameters:>11,} {mflop:>12.1f} "
            f"{4 * shape.parameters / 1e6:>13.1f}  {shape.upstream_id}"
        )


def _row(shape: Shape) -> dict[str, object]:
    return {
        "name": shape.name,
        "alias": shape.alias,
        "upstream_id": shape.upstream_id,
        "layers": shape.layers,
        "hidden": shape.hidden,
        "heads": shape.heads,
        "feed_forward": shape.feed_forward,
        "parameters": shape.parameters,
        "training_flops_per_token": round(shape.training_flops_per_token(FLOPS_SEQUENCE_LENGTH, FLOPS_PREDICTED_SHARE)),
        "bytes_float32": 4 * shape.parameters,
    }
