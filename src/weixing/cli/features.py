"""`weixing features`: texts to vectors in a file. Reads a text file, writes one .npy, .parquet or .npz."""

import json
import time
from pathlib import Path
from typing import Annotated, Literal

import typer

from weixing.cli.ways import BACKEND_HELP, PRECISION_HELP, figures, say_way
from weixing.errors import UserError


def run(
    out: Annotated[Path, typer.Option(help="New .npy or .parquet (.npz with --pooling tokens).")],
    model: Annotated[str, typer.Option("--model", "-m", help="Model folder, run folder, hub id, shape.")] = "builtin",
    text: Annotated[str | None, typer.Argument(help="One text; or use --input.")] = None,
    source: Annotated[
        Path | None, typer.Option("--input", help="A text a line; .jsonl, .tsv; also .gz .zst .xz. Any size.")
    ] = None,
    column: Annotated[str | None, typer.Option("--text", help="Its key or column. Default: text, text_a.")] = None,
    pooling: Annotated[
        Literal["mean", "cls", "tokens"] | None, typer.Option(help="tokens: none. Default: the model's, or mean.")
    ] = None,
    backend: Annotated[str, typer.Option(help=BACKEND_HELP)] = "auto",
    precision: Annotated[str, typer.Option(help=PRECISION_HELP)] = "auto",
    batch_tokens: Annotated[int, typer.Option(min=1, help="Most positions in a batch.")] = 4096,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="NaN for a line that cannot be read; else stop.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace --out if it exists.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where a run was stopped or killed.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Vectors of texts: float32 [texts, hidden], a row for each line, in the order of the lines.

    With --pooling tokens an .npz: array "0" [tokens, hidden] for the first text, "1" for the second, and so on.

    Example: weixing features --input texts.txt --model runs/tiny --out vectors.npy
    """
    if (text is None) == (source is None):
        raise UserError("either a text or --input is needed, and not both", action="See: weixing features --help")
    suffixes = (".npz",) if pooling == "tokens" else (".npy", ".parquet")
    if out.suffix not in suffixes:
        accepted = f"a name that ends in {' or '.join(suffixes)} for --pooling {pooling or 'mean'}"
        raise UserError(f"--out {out}", accepted=accepted)
    if resume and pooling == "tokens":
        raise UserError("--resume with --pooling tokens", accepted="mean or cls: an .npz cannot be gone on with")

    from weixing.files import require_new
    from weixing.inference.bulk import Request, features_of_file, features_of_text, tokens_of_file
    from weixing.inference.model import load
    from weixing.inference.vectors import require_parquet

    require_new(out, overwrite, folder=False)
    if out.suffix == ".parquet":
        require_parquet()
    loaded = load(model, backend, precision)
    say_way(loaded, backend)
    began = time.perf_counter()
    if source is None:
        done = features_of_text(loaded, str(text), out, pooling or loaded.pooling)
    else:
        request = Request(source, out, column, None, skip_bad, batch_tokens, overwrite, resume)
        if pooling == "tokens":
            done = tokens_of_file(loaded, request)
        else:
            done = features_of_file(loaded, request, pooling or loaded.pooling)
    seconds = time.perf_counter() - began
    result = {
        **figures(done, loaded, seconds),
        "shape": [done.texts, None, loaded.shape.hidden] if pooling == "tokens" else [done.texts, loaded.shape.hidden],
        "output": str(out),
    }
    if as_json:
        print(json.dumps(result, ensure_ascii=False))
    else:
        how = f"{pooling or loaded.pooling}, {loaded.precision}"
        print(f"{done.texts:,} texts ({done.tokens:,} tokens) in {seconds:.2f} s, {how} → {out}")
