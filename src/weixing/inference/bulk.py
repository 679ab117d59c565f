"""A file of texts of any size to a file of vectors or labels, chunk by chunk, in memory that does not grow with it.

Reads the texts, writes the output by way of a part beside it (`parts`), so that a run that was killed can go on. The
output has a row for each line, in the order of the lines.

Shapes: N texts of a chunk, H hidden units.
"""

import hashlib
import json
import os
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, astuple, dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from weixing.errors import UserError
from weixing.files import atomic_file, require_new
from weixing.inference import lines
from weixing.inference.backends import Pooling
from weixing.inference.encoding import say_cut
from weixing.inference.model import Model
from weixing.inference.parts import Part
from weixing.inference.vectors import as_npy, as_parquet, npy_header
from weixing.progress import Progress, say
from weixing.text.tokenizer import Tokenizer

BAD_LINES_TOLD = 20  # by number; the output tells of all
HEAD_BYTES = 1 << 20  # of the source, whose checksum tells it from another


class Request(NamedTuple):
    """What is asked for.

    Args:
        source: the file of texts.
        out: the output; its name says its form.
        text, text_pair: keys or columns (`lines.form_of`).
        skip_bad: give a line that cannot be read an empty row, in place of stopping there.
        batch_tokens: most positions in a batch.
        overwrite, resume: as of `parts.Part`.
    """

    source: Path
    out: Path
    text: str | None = None
    text_pair: str | None = None
    skip_bad: bool = False
    batch_tokens: int = 4096
    overwrite: bool = False
    resume: bool = False


@dataclass
class Done:
    """How far it is, earlier runs included.

    Attributes:
        texts, tokens: up to now.
        earlier: texts of earlier runs.
        bad, bad_lines: how many lines were skipped, and the numbers of the first of them.
        cut: texts that were cut to the model's positions.
        blank: whether every text was blank.
        end, line, disk_bytes: where to go on (`lines.chunks`), and what was read from disk.
    """

    texts: int = 0
    tokens: int = 0
    earlier: int = 0
    bad: int = 0
    bad_lines: list[int] = field(default_factory=list)
    cut: int = 0
    blank: bool = True
    end: int = 0
    line: int = 1
    disk_bytes: int = 0


class Encoded(NamedTuple):
    """A chunk as token ids: `rows` and `firsts` as `Model.pool` takes them, what is wrong by index, and whom to tell
    how many texts each batch had."""

    rows: list[np.ndarray]
    firsts: np.ndarray | None
    bad: dict[int, str]
    on_batch: Callable[[int], None]


def features_of_file(model: Model, request: Request, pooling: Pooling) -> Done:
    """Vectors of the texts: ``.npy``, float32 [texts, H], NaN for a bad line; or ``.parquet``, null for one.

    Raises:
        UserError: the file cannot be read or has no text, a line is bad, or the output is there already.
    """
    part = _part(model, request, {"verb": "features", "pooling": pooling})

    def compute(some: Encoded) -> bytes:
        vectors = np.asarray(
            model.pool(
                some.rows, pooling, firsts=some.firsts, batch_tokens=request.batch_tokens, on_batch=some.on_batch
            )
        )
        vectors[list(some.bad)] = np.nan
        header = b"" if part.done else npy_header(0, model.shape.hidden)  # filled in at the end
        return header + vectors.astype("<f4").tobytes()

    done = _fill(part, model, request, compute)
    complete = as_parquet if request.out.suffix == ".parquet" else as_npy
    part.finish(lambda data: complete(data, done.texts, model.shape.hidden))
    return done


def classify_file(model: Model, request: Request, top_k: int | None) -> Done:
    """Labels of the texts: ``.jsonl``, an object a line; or ``.tsv``, "|" between several labels and between scores.

    Raises:
        UserError: as `features_of_file`; or the model has no classifier.
    """
    labels, tsv = model.require_labels(), request.out.suffix == ".tsv"
    part = _part(model, request, {"verb": "classify", "top_k": top_k, "labels": list(labels.names)})

    def compute(some: Encoded) -> bytes:
        scores = model.score(
            some.rows, firsts=some.firsts, batch_tokens=request.batch_tokens, on_batch=some.on_batch
        ).tolist()
        written = ["label\tscore\n"] if tsv and not part.done else []
        for index, row in enumerate(scores):
            found = [] if index in some.bad else labels.predicted(row, top_k)
            if tsv:
                names, numbers = (each["label"] for each in found), (f"{each['score']:.6g}" for each in found)
                written.append(f"{'|'.join(names)}\t{'|'.join(numbers)}\n")
            else:
                value = {"error": some.bad[index]} if index in some.bad else {"labels": found}
                written.append(json.dumps(value, ensure_ascii=False) + "\n")
        return "".join(written).encode()

    done = _fill(part, model, request, compute)
    part.finish(lambda data: data)
    return done


def tokens_of_file(model: Model, request: Request) -> Done:
    """Every token's vector: ``.npz`` with an array [T, H] for each text, "0", "1", …; [0, H] for a bad line.

    Such a file cannot be gone on with.

    Raises:
        UserError: as `features_of_file`.
    """
    require_new(request.out, request.overwrite, folder=False)
    done = Done()
    with atomic_file(request.out) as beside, zipfile.ZipFile(beside, "w", allowZip64=True) as archive:
        for some in _encoded(model, request, done):
            first = done.texts - len(some.rows)
            matrices = model.pool(
                some.rows, "tokens", firsts=some.firsts, batch_tokens=request.batch_tokens, on_batch=some.on_batch
            )
            for index, matrix in enumerate(matrices):
                with archive.open(f"{first + index}.npy", "w", force_zip64=True) as stream:
                    np.lib.format.write_array(stream, matrix[:0] if index in some.bad else matrix)
        _tell(done, model, request)
    return done


def features_of_text(model: Model, text: str, out: Path, pooling: Pooling) -> Done:
    """The same of one text, whatever lines it has."""
    rows = model.encode([text])
    vectors = model.pool(rows, pooling)
    with atomic_file(out) as beside:
        if pooling == "tokens":
            with zipfile.ZipFile(beside, "w") as archive, archive.open("0.npy", "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, vectors[0])
        else:
            beside.write_bytes(npy_header(1, model.shape.hidden) + np.asarray(vectors).astype("<f4").tobytes())
            if out.suffix == ".parquet":
                os.replace(as_parquet(beside, 1, model.shape.hidden), beside)
    return Done(texts=1, tokens=len(rows[0]), blank=False)


def _part(model: Model, request: Request, task: dict[str, Any]) -> Part:
    """The output's part, with all that decides about the output's bytes."""
    form = lines.form_of(request.source, request.text, request.text_pair)
    with open(request.source, "rb") as stream:
        start = hashlib.sha256(stream.read(HEAD_BYTES)).hexdigest()
    digest = hashlib.sha256(model.vocabulary.sha256.encode())
    for name, tensor in model.bert.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.cpu().contiguous().numpy())
    whole = task | {
        "weixing": version("weixing"),
        "model": digest.hexdigest(),
        "backend": model.backend.name,
        "precision": model.precision,
        "cores": torch.get_num_threads(),
        "source_bytes": request.source.stat().st_size,
        "source_start": start,
        "form": list(astuple(form)),
        "batch_tokens": request.batch_tokens,
        "chunk": [lines.CHUNK_LINES, lines.CHUNK_BYTES],
    }
    return Part(request.out, whole, overwrite=request.overwrite, resume=request.resume)


def _fill(part: Part, model: Model, request: Request, compute: Callable[[Encoded], bytes]) -> Done:
    done = Done(**part.done)
    done.earlier = done.texts
    for some in _encoded(model, request, done):
        part.append(compute(some), asdict(done))
    try:
        _tell(done, model, request)
    except UserError:
        part.remove()
        raise
    return done


def _encoded(model: Model, request: Request, done: Done) -> Iterator[Encoded]:
    """The chunks that are left, counted in `done` before they are given out.

    Raises:
        UserError: a bad line, unless it may be skipped.
    """
    model.tokenizer = Tokenizer(model.vocabulary, bulk=True)
    form = lines.form_of(request.source, request.text, request.text_pair)
    total = request.source.stat().st_size / 1e6
    with Progress("texts", total=total, unit="MB", start=done.disk_bytes / 1e6) as progress:
        for chunk in lines.chunks(
            request.source, form, end=done.end, line=done.line, most=lines.CHUNK_LINES, most_bytes=lines.CHUNK_BYTES
        ):
            if chunk.bad and not request.skip_bad:
                index, what = next(iter(chunk.bad.items()))
                raise UserError(
                    what, where=f"{request.source}:{chunk.first_line + index}",
                    action="Mend it; or pass --skip-bad, which gives such lines empty rows",
                )  # fmt: skip
            rows, firsts = _rows(model, chunk, done)
            step = (chunk.disk_bytes - done.disk_bytes) / 1e6 / len(rows)
            done.texts += len(rows)
            done.tokens += sum(map(len, rows))
            done.bad += len(chunk.bad)
            numbers = [chunk.first_line + index for index in chunk.bad]
            done.bad_lines += numbers[: BAD_LINES_TOLD - len(done.bad_lines)]
            done.blank &= not any(text and not text.isspace() for text in chunk.texts)
            done.end, done.line, done.disk_bytes = chunk.end, chunk.first_line + len(rows), chunk.disk_bytes
            yield Encoded(rows, firsts, chunk.bad, partial(_advance, progress, step, f"{done.texts:,} texts"))


def _advance(progress: Progress, step: float, note: str, count: int) -> None:
    progress.advance(step * count, note)


def _rows(model: Model, chunk: lines.Chunk, done: Done) -> tuple[list[np.ndarray], np.ndarray | None]:
    def on_cut(count: int, texts: int, most: int) -> None:
        done.cut += count

    if chunk.second_texts is None:
        return model.encode(chunk.texts, on_cut), None
    return model.encode_pairs(chunk.texts, chunk.second_texts, on_cut)


def _tell(done: Done, model: Model, request: Request) -> None:
    """Say what happened on the way.

    Raises:
        UserError: there was no text.
    """
    if done.blank:
        raise lines.empty(request.source)
    if done.cut:
        say_cut(done.cut, done.texts, model.shape.positions - 2)
    if done.bad:
        numbers = ", ".join(map(str, done.bad_lines)) + (", …" if done.bad > len(done.bad_lines) else "")
        say(f"{request.source}: {done.bad:,} lines could not be read and have empty rows: {numbers}")
