"""The record of a preparation, kept beside its shards, so that one which was killed can go on. A thread writes it.

``task.json`` says of which vocabulary, options and corpus files it is; ``progress.json``, renewed now and then, what it
came to at the end of a block, and at the beginning of that block's file. What that counts is on the disk before.
"""

import json
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

from weixing.data.packed import KEYS, Packed, Point
from weixing.data.shards import Shard
from weixing.errors import UserError
from weixing.files import fsync, read_json, write_json
from weixing.progress import say
from weixing.storage import is_remote
from weixing.text.corpus import Block, CorpusReader

TASK, PROGRESS = "task.json", "progress.json"
SAVE_SECONDS = 15.0  # from one save to the next
_SAME = "Resume with the same options and files, or begin anew, without --resume"


class Came(NamedTuple):
    """What a preparation had come to: at the end of a block, when that block's file began, and the finished shards."""

    point: Point
    file_began: Point
    shards: tuple[Shard, ...]


class Record:
    """Of the preparation in a folder; used as a context manager, which ends its thread.

    Args:
        folder: where the shards are made.
        options: everything that the shards depend on besides the corpus; of JSON's kinds.
        files: of the corpus.
    """

    def __init__(self, folder: Path, options: Callable[[], dict[str, Any]], files: Sequence[Path]) -> None:
        self._folder, self._options, self._files = folder, options, files
        self._thread = ThreadPoolExecutor(1)
        self._under_way: Future[None] | None = None
        self._saved, self._synced, self._told = time.monotonic(), 0, False

    def __enter__(self) -> "Record":
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown()

    def earlier(self) -> Came | None:
        """What the preparation came to that was recorded here before; None: none was.

        Raises:
            UserError: it was another one: its options differ, or its corpus, as far as it was read.
        """
        if not (self._folder / PROGRESS).exists():
            return None
        task = read_json(self._folder / TASK, "the task of a preparation")
        self._require_same_options(task["options"])
        progress = read_json(self._folder / PROGRESS, "the progress of a preparation")
        came = Came(
            Point(**progress["point"]),
            Point(**progress["file_began"]),
            tuple(Shard(**one) for one in progress["shards"]),
        )
        self._require_same_files(task["files"], came.point.number)
        return came

    def save_now_and_then(self, packed: Packed) -> None:
        """Begin to save what `packed` came to, if it is time, and nothing is being saved still.

        Raises:
            OSError: something could not be saved (a full disk).
        """
        if time.monotonic() - self._saved < SAVE_SECONDS or (self._under_way and not self._under_way.done()):
            return
        if self._under_way:
            self._under_way.result()
        self._saved = time.monotonic()
        files = packed.flush()
        came = Came(packed.point(), packed.file_began, tuple(packed.shards.shards))
        self._under_way = self._thread.submit(self._save, came, files)

    def remove(self) -> None:
        """The shards are finished: leave nothing but these."""
        self._thread.shutdown()
        for name in (PROGRESS, TASK, KEYS):
            (self._folder / name).unlink(missing_ok=True)

    def _save(self, came: Came, open_files: list[Path]) -> None:
        finished = [self._folder / name for one in came.shards[self._synced :] for name in _names(one)]
        for file in finished + open_files:
            fsync(file)
        self._synced = len(came.shards)
        if not self._told:
            write_json(self._folder / TASK, self._task())
            fsync(self._folder.parent)
            self._told = True
        write_json(
            self._folder / PROGRESS,
            {"point": asdict(came.point), "file_began": asdict(came.file_began), "shards": [*map(asdict, came.shards)]},
        )

    def _task(self) -> dict[str, Any]:
        return {"options": self._options(), "files": [[str(file), *_size_and_time(file)] for file in self._files]}

    def _require_same_options(self, before: dict[str, Any]) -> None:
        for name, value in self._options().items():
            if before.get(name) != value:
                was, now = (json.dumps(one, ensure_ascii=False) for one in (before.get(name), value))
                raise UserError(f"what was done had {name} {was}, not {now}", where=self._folder, action=_SAME)

    def _require_same_files(self, before: list[list[Any]], number: int) -> None:
        """That they have the names of before, and those before file `number` the size and time as well."""
        names = (name for name, *_ in before)
        for place, (was, now) in enumerate(zip_longest(names, map(str, self._files), fillvalue="missing"), 1):
            if was != now:
                what = f"file {place:,} of the corpus was {was} and is {now} now"
                raise UserError(what, where=self._folder, action=_SAME)
        for file, (_, *size_and_time) in zip(self._files[:number], before, strict=False):
            if _size_and_time(file) != size_and_time:
                raise UserError("this file of the corpus has been changed since it was read", where=file, action=_SAME)


def _names(shard: Shard) -> list[str]:
    return [name for name in (shard.file, shard.words_file) if name]


def _size_and_time(file: Path) -> list[int]:
    """Bytes; and when it was last written to, in nanoseconds, for a file of this machine."""
    status = file.stat()
    return [status.st_size, 0 if is_remote(file) else status.st_mtime_ns]


def blocks_after(reader: CorpusReader, came: Came, files_ahead: int) -> tuple[Point, Generator[Block]]:
    """Where to go on, and the blocks of the corpus from there.

    That is the last point, or, if the text of its file up to there is another now, the beginning of that file.

    Raises:
        UserError: the file cannot be read.
    """
    point = came.point
    blocks = _from(reader, point, files_ahead)
    while (block := next(blocks, None)) and block.number == point.number and block.end <= point.end:
        if block.end == point.end and block.checksum == point.checksum:
            return point, blocks
    blocks.close()
    say(f"note: {reader.files[point.number]} is not as it was when it was read; it is prepared anew from its beginning")
    return came.file_began, _from(reader, came.file_began, files_ahead)


def _from(reader: CorpusReader, point: Point, files_ahead: int) -> Generator[Block]:
    """From the beginning of a point's file."""
    return reader.blocks(files_ahead, point.number, point.bytes_before, point.disk_bytes_before)
