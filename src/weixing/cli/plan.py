"""`weixing plan`: what a pretraining run will take, on paper."""

import json
from typing import Annotated, Literal

import typer


def run(
    model: Annotated[str, typer.Option(help="Shape (8/512, tiny, any L/H), or all: the 24.")] = "all",
    device: Annotated[
        str, typer.Option(help="h200 h100 a100 l4 4090 v100 t4; a core: zen4-core amx-core avx2-core.")
    ] = "h200",
    devices: Annotated[int, typer.Option(help="GPUs, or cores of one machine.")] = 8,
    recipe: Annotated[str, typer.Option(help="uer (the published one) or weixing.")] = "uer",
    seq_length: Annotated[int | None, typer.Option(help="One stage, for rows this long. Default: both.")] = None,
    tokens: Annotated[int | None, typer.Option(help="Positions to feed in that stage. Default: the recipe's.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Rows an update, over all devices.")] = None,
    micro_batch_size: Annotated[int | None, typer.Option(help="Rows of one forward pass on one device.")] = None,
    precision: Annotated[Literal["bf16", "float32"] | None, typer.Option(help="Default: bf16 if in hardware.")] = None,
    vocab_size: Annotated[int, typer.Option(help="Entries of the vocabulary.")] = 21_128,
    entries: Annotated[
        int | None, typer.Option(help="Those that the corpus reaches (recipe weixing trains no others).")
    ] = None,
    price: Annotated[float | None, typer.Option(help="USD an hour of one device. Default: an assumption.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """What pretraining will take: parameters, memory a device, time and cost, for a shape or all 24.

    docs/planning.md has the formulas, and says what was measured and what is assumed.

    Example: weixing plan --model 12/768 --device h200 --devices 8
    """
    from weixing.planning.devices import device_called
    from weixing.planning.plan import plan, planned_stages, shapes_called
    from weixing.planning.text import as_table

    stages = planned_stages(recipe, sequence_length=seq_length, tokens=tokens, batch_size=batch_size)
    plans = [
        plan(
            shape, stages, device_called(device), devices, micro_batch_size=micro_batch_size, precision=precision,
            entries=entries, price_per_hour=price,
        )
        for shape in shapes_called(model, vocab_size)
    ]  # fmt: skip
    if as_json:
        print(json.dumps([one.as_json() for one in plans], ensure_ascii=False, indent=2))
    else:
        print("\n".join(as_table(plans)))
