"""`weixing average`: the mean of checkpoints or models → a model folder."""

import json
from pathlib import Path
from typing import Annotated

import typer


def run(
    models: Annotated[list[str], typer.Argument(help="Checkpoints (RUN/checkpoints/step-…) or models: two or more.")],
    out: Annotated[Path, typer.Option(help="New model folder.")],
    weights: Annotated[str | None, typer.Option(help="Of each model: 1,1,2. Default: all the same.")] = None,
    eval_data: Annotated[str | None, typer.Option(help="Held-out shards to measure the mean on.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the folder if it exists.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Average the weights of several checkpoints of a run, or of models of one kind.

    Example: weixing average runs/tiny/checkpoints/step-* --out averaged --eval-data heldout128
    """
    import torch

    from weixing.cli.lists import positive_numbers
    from weixing.data.shards import ShardSet, check_same_vocabulary
    from weixing.errors import UserError
    from weixing.files import require_new
    from weixing.formats.averaging import average
    from weixing.formats.huggingface import export_masked_lm
    from weixing.training.evaluation import HeldOut

    require_new(out, overwrite)
    shares = positive_numbers(weights, "--weights", distinct=False) if weights else None
    shards = ShardSet(eval_data) if eval_data else None
    model, vocabulary = average(models, shares)
    if shards:
        check_same_vocabulary(vocabulary, shards, models[0])
        if shards.manifest.sequence_length > model.encoder.shape.positions:
            raise UserError(
                f"rows of {shards.manifest.sequence_length} positions", where=eval_data,
                accepted=f"at most {model.encoder.shape.positions}, the model's",
            )  # fmt: skip
    export_masked_lm(model, vocabulary, out, overwrite=overwrite)
    result: dict[str, object] = {"models": models, "shape": model.encoder.shape.name, "output": str(out)}
    if shards:
        isolate = shards.manifest.layout == "packed"
        evaluation = HeldOut(shards, isolate).evaluate(model, torch.device("cpu"), "float32")
        result |= {"eval_loss": evaluation.loss, "eval_accuracy": evaluation.accuracy}
    if as_json:
        print(json.dumps(result, ensure_ascii=False))
        return
    measured = f", held-out loss {result['eval_loss']:.4f}" if eval_data else ""
    print(f"mean of {len(models)} models, {result['shape']}{measured} → {out}")
