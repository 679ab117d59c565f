"""`weixing convert`: a model from any known format to another."""

import json
from pathlib import Path
from typing import Annotated, Literal

import typer


def run(
    source: Annotated[str, typer.Argument(help="A checkpoint, a model folder, a hub id; its format is detected.")],
    out: Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder to make.")],
    to: Annotated[
        Literal["hf", "uer", "tf", "keras", "onnx"],
        typer.Option(help="hf: Hugging Face; tf: hf with tf_model.h5; keras: hf as keras-hub reads it."),
    ],
    vocab: Annotated[str | None, typer.Option(help="vocab.txt of a model that comes without.")] = None,
    config: Annotated[Path | None, typer.Option(help="Configuration of a UER or TensorFlow checkpoint.")] = None,
    dtype: Annotated[
        Literal["keep", "float32", "float16", "bf16"], typer.Option(help="Of the weights (hf); keep: as they are.")
    ] = "keep",
    head: Annotated[
        Literal["features", "fill-mask", "classify"] | None, typer.Option(help="Of ONNX; default: the model's own.")
    ] = None,
    precision: Annotated[Literal["fp32", "int8"], typer.Option(help="Of ONNX.")] = "fp32",
    labels: Annotated[str | None, typer.Option(help="Names of a classifier's outputs: 差评,好评.")] = None,
    as_published: Annotated[
        bool, typer.Option("--as-published", help="UER's LayerNorms unchanged, as its own converter leaves them.")
    ] = False,
    tolerance: Annotated[float, typer.Option(min=0, help="Most that outputs may differ, as a share.")] = 2e-5,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace FOLDER if it exists.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Convert a model; the result is read back and compared with the source before it appears.

    Reads UER-py and TencentPretrain checkpoints, Hugging Face folders and hub ids, Google's TensorFlow 1 checkpoints,
    tf_model.h5. `weixing inspect` tells what a file is.

    Example: weixing convert book_review_model.bin-8000 tiny --to hf --vocab google_zh_vocab.txt
    """
    import torch

    from weixing.formats.convert import Options, convert, summary
    from weixing.text.vocabulary import load_vocabulary

    dtypes = {"keep": None, "float32": torch.float32, "float16": torch.float16, "bf16": torch.bfloat16}
    options = Options(
        dtypes[dtype], head, precision, as_published,
        None if labels is None else labels.split(","), tolerance,
    )  # fmt: skip
    vocabulary = None if vocab is None else load_vocabulary(vocab)
    done = convert(source, out, to, config=config, vocabulary=vocabulary, options=options, overwrite=overwrite)
    result = summary(done, to, out)
    if as_json:
        print(json.dumps(result, ensure_ascii=False))
        return
    print(f"{result['from']}, {result['shape']}, {result['parameters']:,} parameters, {result['dtype']} → {out} ({to})")
    if done.source.heads_assumed:
        print(f"heads: {result['heads']}, assumed: 64 units each; --config FILE would tell")
    if done.source.bert.classifier is not None and done.source.labels is None and labels is None:
        print("labels: LABEL_0, LABEL_1, …; --labels names them")
    for name, why in done.left_out.items():
        print(f"left out: {name}, which {why}")
    for name, value in done.quality.items():
        print(f"int8 beside float32: {name} {value:.4g}")
    print(f"largest difference of the outputs: {done.largest_difference:.2g}")
    if to == "keras":
        print("keras-hub takes GELU by tanh, whatever the original does: its hidden states are up to 4e-4 from these")
