"""`weixing zoo`: the 24 shapes as a table or as JSON."""

import json
from typing import Annotated

import typer


def run(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False) -> None:
    """The 24 miniatures: names, upstream ids, exact parameters (at 21,128 tokens), FLOPs per token, size on disk.

    Any other L/H with H a multiple of 64 is accepted wherever a model is named.

    Example: weixing zoo --json
    """
    from weixing.zoo import ZOO

    rows = [
        {
            "name": shape.name,
            "alias": shape.alias,
            "upstream_id": shape.upstream_id,
            "layers": shape.layers,
            "hidden": shape.hidden,
            "heads": shape.heads,
            "feed_forward": shape.feed_forward,
            "parameters": shape.parameters,
            "training_flops_per_token": round(3 * shape.forward_flops_per_token(128, 0.15)),
            "bytes_float32": 4 * shape.parameters,
        }
        for shape in ZOO.values()
    ]
    if as_json:
        print(json.dumps(rows, ensure_ascii=False, indent=2))
        return
    print(f"{'name':7} {'alias':7} {'parameters':>11} {'MFLOP/token':>12} {'MB (float32)':>13}  upstream id")
    for row in rows:
        print(
            f"{row['name']:7} {row['alias'] or '':7} {row['parameters']:>11,} "
            f"{row['training_flops_per_token'] / 1e6:>12.1f} {row['bytes_float32'] / 1e6:>13.1f}  {row['upstream_id']}"
        )
