"""`weixing features`: texts to vectors in a NumPy file. Reads a text file, writes one .npy or .npz."""

import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Literal

import typer

from weixing.errors import UserError


def run(
    model: Annotated[str, typer.Option("--model", "-m", help="Model folder, run folder, hub id, or shape.")],
    out: Annotated[Path, typer.Option(help="The .npy to write (.npz with --pooling tokens).")],
    text: Annotated[str | None, typer.Argument(help="One text; or use --input.")] = None,
    source: Annotated[
        Path | None, typer.Option("--input", help="UTF-8 file, one text a line; empty lines count.")
    ] = None,
    pooling: Annotated[Literal["mean", "cls", "tokens"], typer.Option(help="tokens: no pooling.")] = "mean",
    backend: Annotated[str, typer.Option(help="auto, torch, or compiled (a CPU's).")] = "auto",
    precision: Annotated[
        Literal["float32", "bf16"], typer.Option(help="bf16: about twice as quick, vectors within 2e-2.")
    ] = "float32",
    batch_tokens: Annotated[int, typer.Option(min=1, help="Most positions in a batch.")] = 4096,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace --out if it exists.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Vectors of texts: float32 [texts, hidden] in the order of the texts.

    With --pooling tokens an .npz: array "0" [tokens, hidden] for the first text, "1" for the second, and so on.

    Example: weixing features --input texts.txt --model runs/tiny --out vectors.npy
    """
    if (text is None) == (source is None):
        raise UserError("either a text or --input is needed, and not both", action="See: weixing features --help")
    suffix = ".npz" if pooling == "tokens" else ".npy"
    if out.suffix != suffix:
        raise UserError(f"--out {out}", accepted=f"a name that ends in {suffix} for --pooling {pooling}")

    import numpy as np

    from weixing.files import atomic_file, require_new
    from weixing.inference.model import load
    from weixing.progress import Progress

    require_new(out, overwrite, folder=False)
    texts = _lines(source) if source is not None else [str(text)]
    loaded = load(model, backend, precision)
    began = time.perf_counter()
    with Progress("features", total=len(texts), unit="texts") as progress:
        rows = loaded.encode(texts)
        vectors = loaded.pool(rows, pooling, batch_tokens=batch_tokens, on_batch=progress.advance)
    seconds = time.perf_counter() - began
    with atomic_file(out) as beside, open(beside, "wb") as stream:
        if pooling == "tokens":
            np.savez(stream, **{str(number): matrix for number, matrix in enumerate(vectors)})
        else:
            # Into a real file NumPy writes past Python, and its error of a full disk has no number.
            np.save(SimpleNamespace(write=stream.write), vectors)
    result = {
        "texts": len(texts),
        "tokens": sum(map(len, rows)),
        "seconds": round(seconds, 4),
        "texts_per_second": round(len(texts) / seconds, 2),
        "backend": loaded.backend.name,
        "precision": loaded.precision,
        "shape": [len(texts), None, loaded.shape.hidden] if pooling == "tokens" else [len(texts), loaded.shape.hidden],
        "output": str(out),
    }
    if as_json:
        print(json.dumps(result, ensure_ascii=False))
    else:
        how = f"{pooling}, {loaded.precision}"
        print(f"{len(texts):,} texts ({result['tokens']:,} tokens) in {seconds:.2f} s, {how} → {out}")


def _lines(path: Path) -> list[str]:
    """The lines of a UTF-8 file without their ends; a UserError names the line that is not UTF-8."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read the texts: {error.strerror}", where=path) from None
    lines = content.removeprefix(b"\xef\xbb\xbf").removesuffix(b"\n").split(b"\n")
    if not content.strip():
        raise UserError("there is no text in this file", where=path, accepted="a UTF-8 file, one text a line")
    texts = []
    for number, line in enumerate(lines, 1):
        try:
            texts.append(line.decode().removesuffix("\r"))
        except UnicodeDecodeError as error:
            raise UserError(
                f"byte {error.start + 1} of this line is not UTF-8",
                where=f"{path}:{number}",
                accepted="one text a line",
            ) from None
    return texts
