"""`weixing pretrain-family`: shards → a run folder for each of several shapes."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from weixing.cli import training


def run(
    out: Annotated[Path, typer.Option(help="Folder; shape 2/128 is the run in OUT/2x128.")],
    data: training.Data = None,
    models: Annotated[str | None, typer.Option(help="Shapes: 2/128,4/256,…")] = None,
    teacher: Annotated[str | None, typer.Option(help="Trained model: a folder, a run, builtin, a hub id.")] = None,
    teacher_share: Annotated[float | None, typer.Option(help="Of the targets. Default: 0.5.")] = None,
    recipe: training.Recipe = None,
    eval_data: training.EvalData = None,
    steps: Annotated[int | None, typer.Option(help="Optimizer updates of each. Default: the recipe's.")] = None,
    batch_size: training.BatchSize = None,
    micro_batch_size: training.MicroBatchSize = None,
    learning_rate: training.LearningRate = None,
    matrix_learning_rate: training.MatrixLearningRate = None,
    masking_rate: training.MaskingRate = None,
    masking_unit: training.MaskingUnit = None,
    shuffle_window: training.ShuffleWindow = None,
    seed: training.Seed = None,
    report_every: training.ReportEvery = None,
    eval_every: training.EvalEvery = None,
    save_every: training.SaveEvery = None,
    keep: Annotated[int | None, typer.Option(help="Newest checkpoints kept: 3 (default) or more.")] = None,
    device: training.Device = None,
    precision: training.Precision = None,
    no_compile: Annotated[bool, typer.Option("--no-compile", help="No torch.compile on a GPU.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the runs in --out, exactly.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the family if it exists.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document, a list of runs.")] = False,
) -> int:
    """Pretrain several shapes on the same rows and masks, taught by one trained model if you name it.

    Example: weixing pretrain-family --data shards128 --models 2/128,4/256 --out runs/family --teacher builtin

    Each shape is a run as of pretrain; stop and resume are as there (docs/families.md).
    """
    from functools import partial

    from weixing.formats.huggingface import export_masked_lm
    from weixing.formats.naming import load_masked_lm
    from weixing.training.family_start import pretrain_family

    given = {
        "--data": data, "--init": None, "--recipe": recipe, "--steps": steps, "--teacher": teacher,
        "--teacher-share": teacher_share, "--batch-size": batch_size, "--micro-batch-size": micro_batch_size,
        "--learning-rate": learning_rate, "--matrix-learning-rate": matrix_learning_rate,
        "--masking-rate": masking_rate, "--masking-unit": masking_unit, "--shuffle-window": shuffle_window,
        "--seed": seed, "--precision": precision, "--no-compile": no_compile or None, "--eval-data": eval_data,
        "--report-every": report_every, "--eval-every": eval_every, "--save-every": save_every, "--keep": keep,
    }  # fmt: skip
    done = pretrain_family(
        given, models.split(",") if models else [], out, load=load_masked_lm,
        export=partial(export_masked_lm, overwrite=True), device_name=device, resume=resume, overwrite=overwrite,
    )  # fmt: skip
    stopped_by = done[0].stopped_by
    if as_json:
        kept = [{key: value for key, value in asdict(one).items() if key not in ("stopped_by", "rank")} for one in done]
        print(json.dumps(kept))
    else:
        for one in done:
            loss = f", loss {one.train_loss:.4f}" if one.train_loss is not None else ""
            held_out = f", held-out loss {one.eval_loss:.4f}" if one.eval_loss is not None else ""
            print(f"{one.steps:,} steps, {one.tokens:,} tokens, {one.seconds:.0f} s{loss}{held_out} → {one.output}")
    return 128 + stopped_by if stopped_by else 0
