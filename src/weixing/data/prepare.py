"""`prepare`: corpus → token shards. Streams, in constant memory; reads files and writes a folder.

Blocks of documents are tokenized by the workers and packed in their order in the corpus, so the shards do not depend
on the number of workers. Reading and decompressing has a thread of its own (`weixing.text.corpus`).
"""

import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Literal

import numpy as np

from weixing.data.output import Prepared, new_shards, require_16_bits
from weixing.data.packing import LONGEST_SEQUENCE, SHORTEST_PIECE, RowPacker
from weixing.data.words import WordBorders
from weixing.errors import UserError
from weixing.progress import Progress
from weixing.recipes import Layout
from weixing.text.corpus import Block, CorpusReader
from weixing.text.tokenizer import Tokenizer
from weixing.text.vocabulary import Vocabulary

BLOCKS_AHEAD = 6  # read before a worker is free to tokenize them, or tokenized and not yet packed
CONTINUES_WORD = np.int32(1 << 16)  # flag above a 16-bit token id while rows are packed


_Tokenized = tuple[np.ndarray, np.ndarray, float]  # values, offsets and seconds of a block


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
        workers: how many tokenize at a time: threads, for the compiled tokenizer holds no Python lock (parsing JSON
            does, so for .jsonl two are little faster than one); with `whole_words` processes, for jieba is Python.

    Raises:
        UserError: anything wrong with the corpus, the options or the output.
    """
    if not SHORTEST_PIECE <= sequence_length <= LONGEST_SEQUENCE:
        raise UserError(
            f"a sequence length of {sequence_length}",
            where="--seq-length", accepted=f"{SHORTEST_PIECE} to {LONGEST_SEQUENCE}",
        )  # fmt: skip
    require_16_bits(vocabulary)
    if workers < 1:
        raise UserError(f"{workers} workers", where="--workers", accepted="1 or more")

    began = time.monotonic()
    reader = CorpusReader(sources, documents)
    packer = RowPacker(
        layout, sequence_length,
        cls=vocabulary.cls_id, sep=vocabulary.sep_id, pad=vocabulary.pad_id,
        dtype=np.int32 if whole_words else np.uint16,
    )  # fmt: skip
    count, seconds_tokenizing = 0, 0.0
    with (
        new_shards(Path(output), vocabulary, layout, sequence_length, words=whole_words, overwrite=overwrite) as shards,
        Progress("prepare", total=reader.total_bytes / 1e6, unit="MB of files") as progress,
    ):

        def write(rows: np.ndarray) -> None:
            shards.write(rows.astype(np.uint16, copy=False), rows >= CONTINUES_WORD if whole_words else None)

        for values, offsets, seconds in _tokenized(reader, vocabulary, whole_words, workers):
            write(packer.add(values, offsets))
            count += len(offsets) - 1
            seconds_tokenizing += seconds
            rate = reader.bytes_read / 1e6 / max(time.monotonic() - began, 1e-9)
            progress.advance(reader.disk_bytes_read / 1e6 - progress.done, f"{rate:.1f} MB/s")
        write(packer.finish())
        if not count:
            raise reader.empty()
        shards.finish(count, reader.bytes_read, reader.files)
    return Prepared(
        count, shards.tokens, shards.rows, reader.bytes_read, time.monotonic() - began, seconds_tokenizing, str(output)
    )


class _BlockTokenizer:
    """Tokenizes one block of documents; documents that come to no token at all are left out."""

    def __init__(self, vocabulary: Vocabulary, whole_words: bool) -> None:
        self.tokenizer = Tokenizer(vocabulary, bulk=True)
        self.borders = WordBorders(self.tokenizer) if whole_words else None

    def __call__(self, block: Block) -> _Tokenized:
        began = time.monotonic()
        if self.borders or block.form == "record":
            values, offsets = self._strings(list(block.documents()))
        else:
            values, offsets = self._bytes(block)
        kept = np.concatenate([[True], np.diff(offsets) > 0])
        return values, offsets[kept], time.monotonic() - began

    def _strings(self, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
        ids, offsets = self.tokenizer.encode_batch(texts)
        if self.borders:
            ids |= self.borders(texts, ids, offsets) * CONTINUES_WORD
        return ids, offsets

    def _bytes(self, block: Block) -> tuple[np.ndarray, np.ndarray]:
        """The same ids without a string in between: a line break is white space, so the lines need not be cut out."""
        buffer = np.frombuffer(block.data, np.uint8)
        lines = block.offsets
        if lines is None:
            ends = np.flatnonzero(buffer == ord("\n")) + 1
            lines = np.concatenate([[0], ends, [len(buffer)]])  # the last one is empty, or unended
        try:
            ids, offsets = self.tokenizer.encode_bytes(buffer, lines)
        except UnicodeDecodeError as error:
            raise block.not_utf8(error) from None
        if block.form == "blank-line":
            nothing = np.flatnonzero(np.diff(offsets) == 0)
            blank = [line for line in nothing if block.data[lines[line] : lines[line + 1]].decode().isspace()]
            offsets = np.concatenate([[0], offsets[blank], offsets[-1:]])
        return ids, offsets


_worker: _BlockTokenizer  # one a process, made by its initialiser


def _start_worker(vocabulary: Vocabulary, whole_words: bool) -> None:
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the parent alone answers it
    _worker = _BlockTokenizer(vocabulary, whole_words)


def _work(block: Block) -> _Tokenized:
    return _worker(block)


def _tokenized(reader: CorpusReader, vocabulary: Vocabulary, whole_words: bool, workers: int) -> Iterator[_Tokenized]:
    """Values, offsets and seconds of each block, in the corpus' order."""
    blocks = reader.blocks(files_ahead=workers)
    if workers == 1:
        yield from map(_BlockTokenizer(vocabulary, whole_words), blocks)
        return
    pool: Executor
    work: Callable[[Block], _Tokenized]
    if whole_words:
        pool = ProcessPoolExecutor(
            workers, mp_context=get_context("spawn"), initializer=_start_worker, initargs=(vocabulary, whole_words)
        )
        work = _work
    else:
        pool, work = ThreadPoolExecutor(workers), _BlockTokenizer(vocabulary, whole_words)
    # The workers never wait for this thread, and memory stays constant.
    waiting: deque[Future[_Tokenized]] = deque()
    try:
        for block in blocks:
            waiting.append(pool.submit(work, block))
            if len(waiting) > workers + BLOCKS_AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
