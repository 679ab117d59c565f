"""`prepare`: corpus → token shards. Streams, in constant memory; reads files and writes a folder.

Blocks of documents are tokenized by the workers and packed in their order in the corpus, so the shards do not depend
on the number of workers. Reading and decompressing has a thread of its own (`weixing.text.corpus`).
"""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal

from weixing.data.blocks import Tokenized, Tokenizing, Where, tokenized
from weixing.data.cleaning import Cleaning
from weixing.data.output import Prepared, require_16_bits
from weixing.data.packed import Packed
from weixing.data.packing import LONGEST_SEQUENCE, SHORTEST_PIECE
from weixing.data.record import PROGRESS, Record, blocks_after
from weixing.errors import UserError
from weixing.files import resumable_folder
from weixing.progress import Progress
from weixing.recipes import Layout
from weixing.text.corpus import Block, CorpusReader
from weixing.text.vocabulary import Vocabulary


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
    ray: str | None = None,
    cleaning: Cleaning = Cleaning(),  # noqa: B008  frozen
    overwrite: bool = False,
    resume: bool = False,
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
        ray: address of a Ray cluster (`weixing.clusters`), whose cores all tokenize, in place of `workers` here.
        cleaning: what is done to the documents before.
        overwrite: whether an output that exists may be replaced.
        resume: go on where one with the same options and corpus was stopped, killed, or failed
            (`weixing.data.record`); from the beginning if there is none.

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
    seconds_tokenizing = 0.0

    def options() -> dict[str, Any]:
        from importlib.metadata import version  # 0.02 s, and needed by the long preparations alone

        return {
            "version": version("weixing"), "--vocab": vocabulary.sha256, "--seq-length": sequence_length,
            "--layout": layout, "--documents": documents, "--whole-words": whole_words,
            "cleaning": cleaning.record(Counter()),
        }  # fmt: skip

    with (
        resumable_folder(Path(output), PROGRESS, overwrite=overwrite, resume=resume) as folder,
        Record(folder, options, reader.files) as record,
        closing(Packed(folder, vocabulary, layout, sequence_length, whole_words, cleaning.deduplicate)) as packed,
        _tokenizing(Tokenizing(vocabulary, whole_words, cleaning), workers, ray) as (tokenize, files_ahead),
    ):
        blocks = reader.blocks(files_ahead)
        if came := record.earlier():
            point, blocks = blocks_after(reader, came, files_ahead)
            packed.go_on(point, came.file_began, came.shards)
        start, read_before = reader.disk_bytes_read / 1e6, reader.bytes_read
        with Progress("prepare", total=reader.total_bytes / 1e6, unit="MB of files", start=start) as progress:
            for where, block in tokenize(blocks):
                packed.add(where, block)
                record.save_now_and_then(packed)
                seconds_tokenizing += block.seconds
                rate = (reader.bytes_read - read_before) / 1e6 / max(time.monotonic() - began, 1e-9)
                progress.advance(reader.disk_bytes_read / 1e6 - progress.done, f"{rate:.1f} MB/s")
            packed.finish()
        if not packed.documents:
            raise _nothing_left(packed.left_out) if packed.left_out else reader.empty()
        cleaned = cleaning.record(packed.left_out) if cleaning else None
        packed.shards.finish(packed.documents, reader.bytes_read, reader.files, cleaned)
        record.remove()
    return Prepared(
        packed.documents, packed.shards.tokens, packed.shards.rows, reader.bytes_read, time.monotonic() - began,
        seconds_tokenizing, str(output), cleaned["left_out"] if cleaned else {},
    )  # fmt: skip


@contextmanager
def _tokenizing(
    how: Tokenizing, workers: int, ray: str | None
) -> Iterator[tuple[Callable[[Iterable[Block]], Iterator[tuple[Where, Tokenized]]], int]]:
    """What tokenizes blocks, and how many files should be read at a time for it."""
    if ray is None:
        yield partial(tokenized, how=how, workers=workers), workers
        return
    from weixing.clusters import connection
    from weixing.data.ray_blocks import places, tokenized_on_cluster

    with connection(ray) as cluster:
        yield partial(tokenized_on_cluster, cluster, how=how), min(places(cluster), os.cpu_count() or 1)


def _nothing_left(left_out: Counter[str]) -> UserError:
    counts = ", ".join(f"{count:,} {reason}" for reason, count in left_out.items())
    return UserError(
        f"cleaning left nothing of the corpus: {counts}", accepted="at least one document",
        action="Loosen --min-chars, --max-chars, --chinese-share, or look at what --exclude names",
    )  # fmt: skip
