"""The task that the options of a command mean: one of the six, one that comes with the package, or one's own."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

from weixing.errors import UserError
from weixing.tasks.catalogue import NAMED
from weixing.tasks.checking import load_named
from weixing.tasks.files import Task, load_task, make_task, read_examples
from weixing.tasks.locating import folder_of, only, task_folders
from weixing.tasks.rows import Layout
from weixing.text.sample.generator import sample_task

SIMILARITY = "similarity"  # no data of its own: a task of pairs, read as texts that are alike or not
BUILT_IN: tuple[Literal["sentiment", "pairs"], ...] = ("sentiment", "pairs")


def open_task(
    name: str | None = None,
    data: Path | None = None,
    train: Path | None = None,
    dev: Path | None = None,
    layout: Layout | None = None,
) -> Task:
    """The task `name` (its folder in `data`, or built in), or that of the two files `train` and `dev`.

    `layout` says how the files of one's own task are laid out. ``similarity`` goes with two files as well; alone, it
    means the built-in pairs.

    Raises:
        UserError: neither or both are given; there is no such task; its files are wrong; a layout for a known task.
    """
    layout = layout or Layout()
    if name == SIMILARITY and layout.kind in (None, SIMILARITY):
        layout, name = replace(layout, kind="similarity"), None if train or dev else name
    if name is not None and train is None and dev is None:
        return _by_name(name, data, layout)
    if name is None and data is None and train is not None and dev is not None:
        return load_task(name_of_files(train), train, dev, layout)
    raise UserError("which task is meant?", accepted="--task T [--data DIR], or --train FILE --dev FILE")


def name_of_files(train_file: Path) -> str:
    """What a task given as two files is called: ``reviews`` for ``reviews/train.tsv`` as for ``reviews.tsv``."""
    path = train_file.absolute()
    return path.parent.name if path.stem.startswith("train") and path.parent.name else path.stem


def _by_name(name: str, data: Path | None, layout: Layout) -> Task:
    known = NAMED.get(name)
    if known is not None and data is not None:
        _require_no_layout(name, layout)
        return load_named(known, data)
    folders = task_folders(data) if data is not None else {}
    if name in folders:
        return load_task(name, only(folders[name], "train"), only(folders[name], "dev"), layout)
    for built_in in BUILT_IN:
        if name == built_in:
            _require_no_layout(name, layout)
            return _built_in(name, built_in, layout)
    if name == SIMILARITY:
        _require_no_layout(name, replace(layout, kind=None, labelled=True))
        return _built_in(name, "pairs", layout)
    if known is not None:
        raise UserError(
            f"where are the data of {name}?",
            accepted=f"--data DIR with a folder {known.folder or name}",
            action=f"They are from {known.source}; `weixing tasks --data DIR` says what a folder holds",
        )
    known_here = [task.name for task in NAMED.values() if data is None or folder_of(task, data)]
    raise UserError(
        f"there is no task {name!r}",
        where=data,
        accepted=", ".join([*dict.fromkeys([*folders, *known_here]), *BUILT_IN, SIMILARITY]),
        action="Name the files instead: --train FILE --dev FILE"
        if data is not None
        else "Say where its folder is (--data DIR), or name the files: --train FILE --dev FILE",
    )


def _built_in(name: str, folder: Literal["sentiment", "pairs"], layout: Layout) -> Task:
    train, dev = (only(sample_task(folder), split) for split in ("train", "dev"))
    labelled = replace(layout, labelled=True)
    return make_task(name, read_examples(train, layout), read_examples(dev, labelled), data="complete")


def _require_no_layout(name: str, layout: Layout) -> None:
    if layout != Layout():
        raise UserError(
            f"the columns and labels of {name} are known",
            where="--text, --text-pair, --label, --kind, --label-separator",
            accepted="none of them; they are for files of your own",
            action="To read these files otherwise, name them: --train FILE --dev FILE",
        )
