"""The output folder of a grid, whole at any moment that the program may be killed in.

It holds ``run.json`` (the settings, first), ``predictions/<cell>.jsonl``, ``model/`` (the best so far, Hugging Face
layout, with the result that it gave in ``result.json``) and ``results.jsonl`` (a cell's line comes last: what it names
is there). Its lines are in the order of the grid, not in that in which cells ended, and so is what a tie is decided by.
"""

import fcntl
import json
import math
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from weixing.errors import UserError
from weixing.files import atomic_file, atomic_folder, read_json, remove_leftovers, require_new, write_json
from weixing.tasks.cells import Cell
from weixing.tasks.results import FILE_NAME, Result, read_results, write_results

PREDICTIONS, MODEL, SETTINGS, RESULT = "predictions", "model", "run.json", "result.json"


def require_folder(out: Path, overwrite: bool, resume: bool) -> dict[str, Any]:
    """Make sure that a grid may be run in `out`; return the settings of the one to resume, or {}.

    Raises:
        UserError: it may not; nothing was changed.
    """
    if overwrite and resume:
        raise UserError("--overwrite and --resume contradict each other", accepted="one of them")
    if out.exists() and not out.is_dir():
        raise UserError("this is a file", where=out, accepted="a folder for the results")
    if out.is_dir():
        remove_leftovers(out)
    exists = (out / SETTINGS).exists()
    if resume and out.is_dir() and any(out.iterdir()) and not exists:
        raise UserError(f"nothing to resume: there is no {SETTINGS}", where=out, accepted="a folder of finetune")
    if exists and not overwrite and not resume:
        raise _left_by_an_earlier_run(out)
    if not resume:
        require_new(out, overwrite)
    return read_json(out / SETTINGS, "the settings of a grid") if resume and exists else {}


def _left_by_an_earlier_run(out: Path) -> UserError:
    return UserError(
        f"an earlier run left {len(_results_in(out))} of its results here",
        where=out,
        action="Go on with it (--resume), name another --out, or replace it (--overwrite)",
    )


@contextmanager
def grid_folder(
    out: Path,
    before: Mapping[str, Any],
    settings: Mapping[str, Any],
    machine: Mapping[str, Any],
    order: Sequence[Cell],
    overwrite: bool = False,
) -> Iterator["GridFolder"]:
    """Make `out` ready, after `require_folder`; no other process may work in it meanwhile.

    Args:
        before: the settings of the grid to resume; empty: a new one begins.
        settings: what results depend on besides the cell.
        machine: what else run.json tells.
        order: of the cells.
        overwrite: whether an earlier grid goes when a new one begins.

    Raises:
        UserError: it was made with other settings, another process is at work there, or has been since.
    """
    for key, value in settings.items() if before else ():
        if before.get(key) != value:
            raise UserError(
                f"the earlier cells had {key} {json.dumps(before.get(key), ensure_ascii=False)}, "
                f"not {json.dumps(value, ensure_ascii=False)}",
                where=out / SETTINGS,
                action="Resume with the same settings, or name another --out",
            )
    out.mkdir(parents=True, exist_ok=True)
    with _alone_in(out):
        if not before:
            if (out / SETTINGS).exists() and not overwrite:  # made while this process was still reading its model
                raise _left_by_an_earlier_run(out)
            (out / FILE_NAME).unlink(missing_ok=True)
            for name in (PREDICTIONS, MODEL):
                shutil.rmtree(out / name, ignore_errors=True)
            write_json(out / SETTINGS, {**settings, **machine})  # it goes last: until then the folder is known as ours
        folder = GridFolder(out, order, _results_in(out))
        folder.remove_strays()
        try:
            yield folder
        finally:
            folder.remove_workplace()


class GridFolder:
    """What a grid has come to in `out`.

    Attributes:
        results: in the order of the grid; those of cells that are not in it come first.
    """

    def __init__(self, out: Path, order: Sequence[Cell], results: Sequence[Result]) -> None:
        self.out = out
        self._place = {cell: number for number, cell in enumerate(order)}
        self.results = self._in_order(results)

    def result(self, cell: Cell) -> Result | None:
        """That of a cell, if there is one."""
        return next((result for result in self.results if result.cell == cell), None)

    def score(self, cell: Cell) -> float | None:
        """That of a cell's result, if there is one."""
        result = self.result(cell)
        return result.score if result else None

    @property
    def best(self) -> Result | None:
        """The highest score, the first in order where several have it."""
        return max(self.results, key=lambda result: result.score, default=None)

    @property
    def lacks_the_model(self) -> bool:
        """Whether `model` is not that of the best result: the program was killed between the one and the other."""
        there = _results_in(self.out / MODEL, RESULT)
        return self.best is not None and not (there and there[0].cell == self.best.cell)

    def wanted(self) -> float:
        """The score from which on a new result may be the best, so that its weights are needed."""
        return self.best.score if self.best else -math.inf

    def add(
        self, result: Result, predictions: Iterable[Mapping[str, Any]], export: Callable[[Path], None] | None
    ) -> None:
        """Keep a result, in place of an earlier one of the same cell.

        Args:
            predictions: one object a dev row.
            export: makes the model folder at a path; may be None for a score below `wanted`.
        """
        with atomic_file(self._predictions(result.cell)) as beside, open(beside, "w", encoding="utf-8") as stream:
            stream.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in predictions)
        others = [other for other in self.results if other.cell != result.cell]
        self.results = self._in_order([*others, result])
        if self.best is result:
            assert export
            with atomic_folder(self.out / MODEL, overwrite=True) as folder:
                export(folder)
                write_results(folder / RESULT, [result])
        write_results(self.out / FILE_NAME, self.results)

    def workplace(self) -> Path:
        """An empty hidden folder, removed in the end; a later run removes it if this one is killed."""
        self.remove_workplace()
        self._workplace().mkdir()
        return self._workplace()

    def remove_workplace(self) -> None:
        """Remove that folder, if there is one."""
        shutil.rmtree(self._workplace(), ignore_errors=True)

    def remove_strays(self) -> None:
        """Remove predictions without a result: the run was stopped just between the two."""
        known = {self._predictions(result.cell) for result in self.results}
        for file in (self.out / PREDICTIONS).glob("*.jsonl"):
            if file not in known:
                file.unlink()
        if (self.out / PREDICTIONS).is_dir():
            remove_leftovers(self.out / PREDICTIONS)

    def _predictions(self, cell: Cell) -> Path:
        return self.out / PREDICTIONS / f"{cell.name}.jsonl"

    def _workplace(self) -> Path:
        return self.out / f".work.writing-{os.getpid()}"

    def _in_order(self, results: Iterable[Result]) -> list[Result]:
        return sorted(results, key=lambda result: self._place.get(result.cell, -1))


def _results_in(folder: Path, name: str = FILE_NAME) -> list[Result]:
    return read_results([folder / name]) if (folder / name).exists() else []


@contextmanager
def _alone_in(out: Path) -> Iterator[None]:
    """A lock on the folder, which the system lifts when this process ends, however it ends."""
    descriptor = os.open(out, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                "another process is at work in this folder", where=out, action="Let it end, or name another --out"
            ) from None
        except OSError:  # some network file systems have no locks
            pass
        yield
    finally:
        with suppress(OSError):
            os.close(descriptor)
