"""`weixing pretrain`: shards → run folder."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from weixing.cli import training


def run(
    out: Annotated[Path, typer.Option(help="Run folder.")],
    data: training.Data = None,
    model: Annotated[str | None, typer.Option(help="Shape: 2/128 … 12/768, tiny … base, any L/H.")] = None,
    recipe: training.Recipe = None,
    init: Annotated[str | None, typer.Option(help="Model to start from: stage 2, own domain.")] = None,
    eval_data: training.EvalData = None,
    steps: Annotated[int | None, typer.Option(help="Optimizer updates. Default: the recipe's.")] = None,
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
    keep: Annotated[int | None, typer.Option(help="Newest checkpoints kept, beside the best. Default: 3.")] = None,
    device: training.Device = None,
    precision: training.Precision = None,
    no_compile: Annotated[
        bool, typer.Option("--no-compile", help="No torch.compile on a GPU (a CPU has none).")
    ] = False,
    shard: Annotated[bool, typer.Option("--shard", help="Cut the model among the processes (FSDP).")] = False,
    offload: Annotated[bool, typer.Option("--offload", help="With --shard: keep it in the hosts' memory.")] = False,
    recompute: Annotated[bool, typer.Option("--recompute", help="Keep no activations; make them again.")] = False,
    stall_timeout: Annotated[
        float, typer.Option(help="Seconds all may stand still. Default: 600.", show_default=False)
    ] = 600.0,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Event files too, for TensorBoard.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out, exactly.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run if it exists.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> int:
    """Pretrain a miniature on shards. Ctrl-C saves before it stops; --resume goes on as if never stopped.

    Example: weixing pretrain --data shards128 --model 2/128 --out runs/tiny --steps 20000

    Many devices, many hosts: torchrun --nproc-per-node 8 -m weixing pretrain …
    """
    from functools import partial

    from weixing.formats.huggingface import export_masked_lm
    from weixing.formats.naming import load_masked_lm
    from weixing.training.sharding import Memory
    from weixing.training.start import pretrain

    given = {
        "--data": data, "--model": model, "--init": init, "--recipe": recipe, "--steps": steps,
        "--batch-size": batch_size, "--micro-batch-size": micro_batch_size, "--learning-rate": learning_rate,
        "--matrix-learning-rate": matrix_learning_rate, "--masking-rate": masking_rate,
        "--masking-unit": masking_unit, "--shuffle-window": shuffle_window, "--seed": seed,
        "--precision": precision, "--no-compile": no_compile or None, "--eval-data": eval_data,
        "--report-every": report_every, "--eval-every": eval_every, "--save-every": save_every,
        "--keep": keep,
    }  # fmt: skip
    done = pretrain(
        given, out, load=load_masked_lm, export=partial(export_masked_lm, overwrite=True),
        device_name=device, resume=resume, overwrite=overwrite, stall_seconds=stall_timeout,
        tensorboard=tensorboard,
        memory=Memory(shard, offload, recompute),
    )  # fmt: skip
    result = asdict(done)
    stopped_by, rank = result.pop("stopped_by"), result.pop("rank")
    if rank:
        pass  # rank 0 tells
    elif as_json:
        print(json.dumps(result))
    else:
        loss = f", loss {done.train_loss:.4f}" if done.train_loss is not None else ""
        held_out = f", held-out loss {done.eval_loss:.4f}" if done.eval_loss is not None else ""
        print(
            f"{done.steps:,} steps, {done.tokens:,} tokens, {done.seconds:.0f} s, {done.tokens_per_second:,.0f} "
            f"tokens/s ({100 * done.peak_fraction:.0f} % of the matrix peak){loss}{held_out} "
            f"→ {done.output}"
        )
    return 128 + stopped_by if stopped_by else 0
