"""`weixing finetune`: model + task → results, best model, dev predictions."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from weixing.tasks.rows import Kind
from weixing.tasks.tuning import Contrast, Tuning


def run(
    model: Annotated[str, typer.Option(help="Shape, folder or hub id.")],
    out: Annotated[Path, typer.Option(help="Folder for results and best model.")],
    task: Annotated[str | None, typer.Option(help="sentiment, pairs, similarity, or one in --data.")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder of task folders. See: weixing tasks.")] = None,
    train: Annotated[Path | None, typer.Option(help="Own file: TSV, CSV, JSON lines or BIO.")] = None,
    dev: Annotated[Path | None, typer.Option(help="Own dev file, the same.")] = None,
    text: Annotated[str | None, typer.Option(help="Column (number: no header) or key; a list is joined.")] = None,
    text_pair: Annotated[str | None, typer.Option(help="That of the second text, if any.")] = None,
    label: Annotated[str | None, typer.Option(help="That of the label. Default: label.")] = None,
    kind: Annotated[
        Kind | None, typer.Option(metavar="KIND", help="class, multi-label, number, tags or similarity.")
    ] = None,
    label_separator: Annotated[str | None, typer.Option(help="Between classes of a multi-label row.")] = None,
    vocab: Annotated[str | None, typer.Option(help="Of an untrained shape. Default: the built-in one.")] = None,
    named: Annotated[
        Literal["published", "wide"], typer.Option("--grid", help="wide: rates up to 1e-3.")
    ] = "published",
    epochs: Annotated[str | None, typer.Option(help="Passes over training. Default: 3,5,8.")] = None,
    batch_sizes: Annotated[str | None, typer.Option(help="Rows an update. Default: 32,64.")] = None,
    learning_rates: Annotated[str | None, typer.Option(help="Peaks. Default: 3e-5,1e-4,3e-4.")] = None,
    seeds: Annotated[str, typer.Option("--seeds", "--seed", help="Seeds.")] = "7",
    search: Annotated[
        Literal["halving"] | None, typer.Option(help="Run about half of it. See: weixing replay.")
    ] = None,
    patience: Annotated[int | None, typer.Option(help="Stop after so many epochs without a better score.")] = None,
    layer_decay: Annotated[float, typer.Option(help="Rate of a layer per next layer's.")] = Tuning.layer_decay,
    r_drop: Annotated[float, typer.Option(help="Weight of R-Drop.")] = Tuning.r_drop,
    teacher: Annotated[list[str] | None, typer.Option(help="Fine-tuned model to learn from. May be repeated.")] = None,
    teacher_weight: Annotated[float, typer.Option(help="Its share of the loss, 0 to 1.")] = Tuning.teacher_weight,
    temperature: Annotated[float, typer.Option(help="Divides both sides' logits.")] = Tuning.temperature,
    contrast: Annotated[Contrast, typer.Option(metavar="KIND", help="simcse, cosent or in-batch.")] = Tuning.contrast,
    pooling: Annotated[
        Literal["mean", "cls"], typer.Option(metavar="KIND", help="Of similarity: mean or cls.")
    ] = Tuning.pooling,
    scale: Annotated[float, typer.Option(help="Of its cosines: 1 / temperature.")] = Tuning.scale,
    max_length: Annotated[int, typer.Option(help="Longest row, in tokens.")] = 128,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:N. Default: CUDA if any.")] = None,
    precision: Annotated[str | None, typer.Option(help="bf16 or float32. Default: bf16 in hardware.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Cores that share a cell. Default: 2.")] = None,
    processes: Annotated[int | None, typer.Option(min=1, help="Cells at once. Default: all cores.")] = None,
    ray: Annotated[str | None, typer.Option(help="Cluster to run on: auto or host:port.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace earlier results.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Leave out the cells that are done.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Fine-tune on a task: one run for each combination of the lists.

    Example: weixing finetune --model RUN --task pairs --out tuned --epochs 3
    """
    from weixing.cli.lists import positive_numbers, whole_numbers
    from weixing.progress import say
    from weixing.tasks.cells import GRIDS, SIMILARITY, grid
    from weixing.tasks.grid import run_grid
    from weixing.tasks.named import open_task
    from weixing.tasks.rows import Layout
    from weixing.text.vocabulary import load_vocabulary
    from weixing.training.devices import pick_device, pick_precision

    labelled = contrast != "simcse" or "similarity" not in (task, kind)
    opened = open_task(task, data, train, dev, Layout(text, text_pair, label, kind, label_separator, labelled))
    lists = SIMILARITY if opened.kind == "similarity" else GRIDS[named]
    cells = grid(
        whole_numbers(epochs, "--epochs") if epochs else lists.epochs,
        whole_numbers(batch_sizes, "--batch-sizes") if batch_sizes else lists.batch_sizes,
        positive_numbers(learning_rates, "--learning-rates") if learning_rates else lists.learning_rates,
        whole_numbers(seeds, "--seeds", least=0),
    )
    if opened.data_note:
        say(f"{opened.name}: {opened.data} data: {opened.data_note}")
    chosen = pick_device(device)
    done = run_grid(
        model,
        opened,
        cells,
        out,
        vocabulary=load_vocabulary(vocab) if vocab else None,
        device=chosen,
        precision=pick_precision(precision, chosen),
        max_length=max_length,
        tuning=Tuning(
            layer_decay, r_drop, tuple(teacher or ()), teacher_weight, temperature, patience, contrast, pooling, scale
        ),
        search=search,
        threads=threads,
        processes=processes,
        ray=ray,
        overwrite=overwrite,
        resume=resume,
    )
    best = done.best
    if as_json:
        keys = ("score", "epochs", "batch_size", "learning_rate", "seed")
        summary = asdict(done) | {"best": {key: getattr(best, key) for key in keys}}
        if done.search is None:
            del summary["search"]
        print(json.dumps(summary, ensure_ascii=False))
        return
    right = (
        f"{best.score:.1f} % of {best.total:,} right"
        if best.metric == "accuracy"
        else f"{best.metric} {best.score:.1f}"
    )
    print(
        f"{done.model} on {done.task}: {right}, best of {done.cells} "
        f"({best.epochs} epochs, batch {best.batch_size}, learning rate {best.learning_rate:g}, seed {best.seed}), "
        f"in {done.seconds:.0f} s → {done.output}"
    )
    if done.search:
        print(
            f"{done.search.name} ran {done.search.cells_run} of {done.search.cells} cells, {done.search.epochs_run} of "
            f"{done.search.epochs} epochs; {done.search.record}"
        )
