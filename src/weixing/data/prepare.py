"""`prepare`: corpus → token shards. Streams, in constant memory; reads files and writes a folder.

Blocks of documents are tokenized by the workers and packed in their order in the corpus, so the shards do not depend
on the number of workers. Reading and decompressing has a thread of its own (`weixing.text.corpus`).
"""

import signal
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from weixing.data.cleaning import Cleaning
from weixing.data.duplicates import Seen, keys_of
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


class _Tokenized(NamedTuple):
    """A block's documents as `values` with their `offsets`, what cleaning left out, and what tells duplicates."""

    values: np.ndarray
    offsets: np.ndarray
    seconds: float
    left_out: Counter[str]
    keys: np.ndarray | None

    def some(self, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Values and offsets of the documents in `kept`, bool [documents], alone."""
        lengths = np.diff(self.offsets)
        return self.values[np.repeat(kept, lengths)], np.concatenate([[0], np.cumsum(lengths[kept])])


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
    cleaning: Cleaning = Cleaning(),  # noqa: B008  frozen
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
            does, so for .jsonl two are little faster than one); with `whole_words` or `cleaning` processes, for these
            are Python.
        cleaning: what is done to the documents before.

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
    seen = Seen(cleaning.deduplicate) if cleaning.deduplicate else None
    left_out: Counter[str] = Counter()
    with (
        new_shards(Path(output), vocabulary, layout, sequence_length, words=whole_words, overwrite=overwrite) as shards,
        Progress("prepare", total=reader.total_bytes / 1e6, unit="MB of files") as progress,
    ):

        def write(rows: np.ndarray) -> None:
            shards.write(rows.astype(np.uint16, copy=False), rows >= CONTINUES_WORD if whole_words else None)

        for block in _tokenized(reader, vocabulary, whole_words, cleaning, workers):
            values, offsets = block.values, block.offsets
            if seen and block.keys is not None:
                new = seen.new(block.keys)
                values, offsets = block.some(new)
                left_out["duplicate"] += int((~new).sum())
            write(packer.add(values, offsets))
            count += len(offsets) - 1
            left_out += block.left_out
            seconds_tokenizing += block.seconds
            rate = reader.bytes_read / 1e6 / max(time.monotonic() - began, 1e-9)
            progress.advance(reader.disk_bytes_read / 1e6 - progress.done, f"{rate:.1f} MB/s")
        write(packer.finish())
        if not count:
            raise _nothing_left(left_out) if left_out else reader.empty()
        record = cleaning.record(left_out) if cleaning else None
        shards.finish(count, reader.bytes_read, reader.files, record)
    return Prepared(
        count, shards.tokens, shards.rows, reader.bytes_read, time.monotonic() - began, seconds_tokenizing, str(output),
        record["left_out"] if record else {},
    )  # fmt: skip


def _nothing_left(left_out: Counter[str]) -> UserError:
    counts = ", ".join(f"{count:,} {reason}" for reason, count in left_out.items())
    return UserError(
        f"cleaning left nothing of the corpus: {counts}", accepted="at least one document",
        action="Loosen --min-chars, --max-chars, --chinese-share, or look at what --exclude names",
    )  # fmt: skip


class _BlockTokenizer:
    """Tokenizes one block of documents; documents that come to no token at all are left out."""

    def __init__(self, vocabulary: Vocabulary, whole_words: bool, cleaning: Cleaning) -> None:
        self.cleaning = cleaning
        self.tokenizer = Tokenizer(vocabulary, bulk=True)
        self.borders = WordBorders(self.tokenizer) if whole_words else None

    def __call__(self, block: Block) -> _Tokenized:
        began = time.monotonic()
        left_out: Counter[str] = Counter()
        keys = None
        if self.cleaning:
            texts, left_out = self.cleaning.kept(block.documents())
            values, offsets = self._strings(texts)
            keys = keys_of(texts, self.cleaning.deduplicate) if self.cleaning.deduplicate else None
        elif self.borders or block.form == "record":
            values, offsets = self._strings(list(block.documents()))
        else:
            values, offsets = self._bytes(block)
        kept = np.diff(offsets) > 0
        offsets = offsets[np.concatenate([[True], kept])]
        return _Tokenized(values, offsets, time.monotonic() - began, left_out, None if keys is None else keys[kept])

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


def _start_worker(vocabulary: Vocabulary, whole_words: bool, cleaning: Cleaning) -> None:
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the parent alone answers it
    _worker = _BlockTokenizer(vocabulary, whole_words, cleaning)


def _work(block: Block) -> _Tokenized:
    return _worker(block)


def _tokenized(
    reader: CorpusReader, vocabulary: Vocabulary, whole_words: bool, cleaning: Cleaning, workers: int
) -> Iterator[_Tokenized]:
    """The blocks, in the corpus' order."""
    settings = (vocabulary, whole_words, cleaning)
    blocks = reader.blocks(files_ahead=workers)
    if workers == 1:
        yield from map(_BlockTokenizer(*settings), blocks)
        return
    pool: Executor
    work: Callable[[Block], _Tokenized]
    if whole_words or cleaning:
        pool = ProcessPoolExecutor(
            workers, mp_context=get_context("spawn"), initializer=_start_worker, initargs=settings
        )
        work = _work
    else:
        pool, work = ThreadPoolExecutor(workers), _BlockTokenizer(*settings)
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
