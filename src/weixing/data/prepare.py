"""`prepare`: corpus → token shards. Streams, in constant memory; reads files and writes a folder.

Documents are tokenized in blocks, by one process or several, and packed in their order in the corpus, so the shards
do not depend on the number of workers.
"""

import signal
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import asdict, dataclass
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Literal

import numpy as np

from weixing.data.packing import SHORTEST_PIECE, RowPacker
from weixing.data.shards import FORMAT_VERSION, MANIFEST, Manifest, ShardWriter
from weixing.data.words import WordBorders
from weixing.errors import UserError
from weixing.files import atomic_folder, write_json
from weixing.progress import Progress
from weixing.recipes import Layout
from weixing.text.corpus import CorpusReader
from weixing.text.tokenizer import Tokenizer
from weixing.text.vocabulary import Vocabulary

BLOCK_CHARACTERS = 1_000_000  # characters of documents tokenized at a time
LONGEST_SEQUENCE = 4_096
CONTINUES_WORD = np.uint32(1 << 16)  # flag above a uint16 token id while rows are packed


@dataclass(frozen=True)
class Prepared:
    """What `prepare` did. `tokens` are positions without padding; `seconds_tokenizing` sums over the workers."""

    documents: int
    tokens: int
    rows: int
    bytes_in: int
    seconds: float
    seconds_tokenizing: float
    output: str


def prepare(
    sources: Sequence[str | Path],
    output: str | Path,
    *,
    vocabulary: Vocabulary,
    sequence_length: int = 128,
    layout: Layout = "packed",
    documents: Literal["line", "blank-line"] = "line",
    whole_words: bool = False,
    workers: int = 1,
    overwrite: bool = False,
) -> Prepared:
    """Tokenize a corpus and pack it into the shards of a new folder.

    Args:
        sources: files, folders and globs (see `weixing.text.corpus`).
        output: the new folder; it appears whole or not at all.
        vocabulary: at most 65,536 entries, so that an id fits uint16.
        sequence_length: positions a row.
        layout: see `weixing.data.packing.RowPacker`.
        documents: what a document is in a .txt corpus: a line, or lines up to an empty one.
        whole_words: find and store word borders (needs jieba).
        workers: processes that tokenize.

    Raises:
        UserError: anything wrong with the corpus, the options or the output.
    """
    if not SHORTEST_PIECE <= sequence_length <= LONGEST_SEQUENCE:
        raise UserError(
            f"a sequence length of {sequence_length}",
            where="--seq-length", accepted=f"{SHORTEST_PIECE} to {LONGEST_SEQUENCE}",
        )  # fmt: skip
    if len(vocabulary) > 2**16:
        raise UserError(f"a vocabulary of {len(vocabulary)} entries", where="--vocab", accepted="at most 65,536")
    if workers < 1:
        raise UserError(f"{workers} workers", where="--workers", accepted="1 or more")

    began = time.monotonic()
    reader = CorpusReader(sources, documents)
    packer = RowPacker(
        layout, sequence_length,
        cls=vocabulary.cls_id, sep=vocabulary.sep_id, pad=vocabulary.pad_id, dtype=np.uint32,
    )  # fmt: skip
    count, tokens, seconds_tokenizing = 0, 0, 0.0
    with (
        atomic_folder(Path(output), overwrite=overwrite) as folder,
        Progress("prepare", total=reader.total_bytes / 1e6, unit="MB of files") as progress,
    ):
        writer = ShardWriter(folder, sequence_length, words=whole_words)

        def write(rows: np.ndarray) -> None:
            nonlocal tokens
            ids = rows.astype(np.uint16)
            tokens += int(np.count_nonzero(ids != vocabulary.pad_id))
            writer.write(ids, rows >= CONTINUES_WORD if whole_words else None)

        try:
            for values, offsets, seconds in _tokenized(reader, vocabulary, whole_words, workers):
                write(packer.add(values, offsets))
                count += len(offsets) - 1
                seconds_tokenizing += seconds
                rate = reader.bytes_read / 1e6 / max(time.monotonic() - began, 1e-9)
                progress.advance(reader.disk_bytes_read / 1e6 - progress.done, f"{rate:.1f} MB/s")
            write(packer.finish())
            shards = writer.close()
        finally:
            writer.abandon()
        if not count:
            raise UserError("the corpus holds no text that the vocabulary can express", where=str(sources[0]))
        vocabulary.write(folder / "vocab.txt")
        manifest = Manifest(
            format_version=FORMAT_VERSION,
            layout=layout,
            sequence_length=sequence_length,
            rows=writer.rows,
            tokens=tokens,
            documents=count,
            bytes_in=reader.bytes_read,
            vocabulary_sha256=vocabulary.sha256,
            vocabulary_size=len(vocabulary),
            shards=shards,
            sources=tuple(str(file) for file in reader.files),
        )
        write_json(folder / MANIFEST, asdict(manifest))
    return Prepared(
        count, tokens, writer.rows, reader.bytes_read, time.monotonic() - began, seconds_tokenizing, str(output)
    )


def _blocks(reader: CorpusReader) -> Iterator[list[str]]:
    block: list[str] = []
    characters = 0
    for document in reader:
        block.append(document)
        characters += len(document)
        if characters >= BLOCK_CHARACTERS:
            yield block
            block, characters = [], 0
    if block:
        yield block


class _BlockTokenizer:
    """Tokenizes one block of documents; documents that come to no token at all are left out."""

    def __init__(self, vocabulary: Vocabulary, whole_words: bool) -> None:
        self.tokenizer = Tokenizer(vocabulary)
        self.borders = WordBorders(self.tokenizer) if whole_words else None

    def __call__(self, block: list[str]) -> tuple[np.ndarray, np.ndarray, float]:
        began = time.monotonic()
        ids, offsets = self.tokenizer.encode_batch(block)
        values = ids.astype(np.uint32)
        if self.borders:
            values |= self.borders(block, ids, offsets) * CONTINUES_WORD
        kept = np.concatenate([[True], np.diff(offsets) > 0])
        return values, offsets[kept], time.monotonic() - began


_worker: _BlockTokenizer  # one a process, made by its initialiser


def _start_worker(vocabulary: Vocabulary, whole_words: bool) -> None:
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the parent alone answers it
    _worker = _BlockTokenizer(vocabulary, whole_words)


def _work(block: list[str]) -> tuple[np.ndarray, np.ndarray, float]:
    return _worker(block)


def _tokenized(
    reader: CorpusReader, vocabulary: Vocabulary, whole_words: bool, workers: int
) -> Iterator[tuple[np.ndarray, np.ndarray, float]]:
    """Values, offsets and seconds of each block, in the corpus' order."""
    if workers == 1:
        yield from map(_BlockTokenizer(vocabulary, whole_words), _blocks(reader))
        return
    with ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=_start_worker, initargs=(vocabulary, whole_words)
    ) as pool:
        blocks = _blocks(reader)
        # A few blocks ahead of the workers, no more: memory stays constant however long the corpus.
        waiting: list[Future[tuple[np.ndarray, np.ndarray, float]]] = []
        try:
            waiting.extend(pool.submit(_work, block) for block in islice(blocks, 2 * workers))
            while waiting:
                yield waiting.pop(0).result()
                waiting.extend(pool.submit(_work, block) for block in islice(blocks, 1))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
