"""Blocks of documents, tokenized by workers of this machine and given in their order in the corpus.

However many there are, what comes is the same. Starts threads and processes.
"""

import signal
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from typing import NamedTuple

import numpy as np

from weixing.data.cleaning import Cleaning
from weixing.data.duplicates import keys_of
from weixing.data.words import WordBorders
from weixing.text.corpus import Block
from weixing.text.tokenizer import Tokenizer
from weixing.text.vocabulary import Vocabulary

BLOCKS_AHEAD = 6  # read before a worker is free to tokenize them, or tokenized and not yet packed
CONTINUES_WORD = np.int32(1 << 16)  # flag above a 16-bit token id while rows are packed


class Tokenizing(NamedTuple):
    """What is done to a block: tokens of this vocabulary, word borders found or not, cleaning before."""

    vocabulary: Vocabulary
    whole_words: bool
    cleaning: Cleaning


class Tokenized(NamedTuple):
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


class Where(NamedTuple):
    """Where a block ends: `Block` says what these are."""

    number: int = 0
    end: int = 0
    checksum: int = 0
    disk_bytes: int = 0

    @classmethod
    def after(cls, block: Block) -> "Where":
        """The end of `block`."""
        return cls(block.number, block.end, block.checksum, block.disk_bytes)


class BlockTokenizer:
    """Tokenizes one block of documents; documents that come to no token at all are left out."""

    def __init__(self, how: Tokenizing) -> None:
        self.cleaning = how.cleaning
        self.tokenizer = Tokenizer(how.vocabulary, bulk=True)
        self.borders = WordBorders(self.tokenizer) if how.whole_words else None

    def __call__(self, block: Block) -> Tokenized:
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
        return Tokenized(values, offsets, time.monotonic() - began, left_out, None if keys is None else keys[kept])

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


_worker: BlockTokenizer  # one a process, made by its initialiser


def _start_worker(how: Tokenizing) -> None:
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the parent alone answers it
    _worker = BlockTokenizer(how)


def _work(block: Block) -> Tokenized:
    return _worker(block)


def tokenized(blocks: Iterable[Block], how: Tokenizing, workers: int) -> Iterator[tuple[Where, Tokenized]]:
    """The blocks, in their order, each with where it ends.

    Args:
        blocks: of a corpus.
        how: what is done.
        workers: as of `weixing.data.prepare.prepare`.

    Raises:
        UserError: a block's bytes are not what its file's name says.
    """
    if workers == 1:
        tokenizer = BlockTokenizer(how)
        for block in blocks:
            yield Where.after(block), tokenizer(block)
        return
    pool: Executor
    work: Callable[[Block], Tokenized]
    if how.whole_words or how.cleaning:
        pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_start_worker, initargs=(how,))
        work = _work
    else:
        pool, work = ThreadPoolExecutor(workers), BlockTokenizer(how)
    # The workers never wait for this thread, and memory stays constant.
    waiting: deque[tuple[Where, Future[Tokenized]]] = deque()
    try:
        for block in blocks:
            waiting.append((Where.after(block), pool.submit(work, block)))
            if len(waiting) > workers + BLOCKS_AHEAD:
                where, future = waiting.popleft()
                yield where, future.result()
        while waiting:
            where, future = waiting.popleft()
            yield where, future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
