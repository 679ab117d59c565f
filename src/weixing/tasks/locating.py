"""Which files a folder of tasks holds for a name. Lists folders; reads no file but the first line of one."""

from pathlib import Path

from weixing.errors import UserError
from weixing.tasks.catalogue import NamedTask
from weixing.tasks.rows import Layout
from weixing.tasks.tables import LABEL

SUFFIXES = (".tsv", ".csv", ".json", ".jsonl", ".txt", ".bio")


def task_folders(data: Path) -> dict[str, Path]:
    """The folders in `data` that hold a training file, by their names.

    Raises:
        UserError: there is no such folder.
    """
    return {folder.name: folder for folder in _folders(data) if any(folder.glob("train.*"))}


def only(folder: Path, split: str) -> Path:
    """The one file of `split` in the folder of a task of one's own.

    Raises:
        UserError: there is none, or several.
    """
    files = sorted(folder.glob(f"{split}.*"))
    if len(files) != 1:
        found = ", ".join(file.name for file in files) or "none"
        raise UserError(
            f"{len(files)} {split} files ({found})",
            where=folder,
            accepted=f"one file {split}{SUFFIXES[0]}, or {', '.join(SUFFIXES[1:])}",
            action="Name the files instead: --train FILE --dev FILE",
        )
    return files[0]


def folder_of(task: NamedTask, data: Path) -> Path | None:
    """The folder in `data` of a named task: ``tnews``, or ``tnews_public`` as CLUE packs it, in any case."""
    name = task.folder or task.name
    names = (name, f"{name}_public")
    folders = [folder for folder in _folders(data) if folder.name.lower() in names]
    return min(folders, key=lambda folder: names.index(folder.name.lower()), default=None)


def file_of(folder: Path, names: tuple[str, ...], split: str) -> Path | None:
    """The file of `split`: the first of `names` that is there, or else the one whose name begins with the split's.

    Raises:
        UserError: no file has one of the names, and several begin like that.
    """
    for name in names:
        if (folder / name).is_file():
            return folder / name
    others = [file for file in sorted(folder.glob(f"{split}*")) if file.suffix.lower() in SUFFIXES]
    if len(others) > 1:
        raise UserError(
            f"several files may be {split}: {', '.join(file.name for file in others)}",
            where=folder,
            accepted=f"{' or '.join(names)}, or one file of another name",
        )
    return others[0] if others else None


def layout_of(task: NamedTask, file: Path) -> Layout:
    """How `file` of a named task is laid out: a table without a header is known by its first line."""
    with open(file, "rb") as stream:
        first = stream.readline().decode("utf-8", errors="replace").removeprefix("\ufeff").rstrip("\r\n")
    if task.columns is None or first.startswith("{") or LABEL in first.split("\t"):
        return Layout(task.text, kind="class")
    return Layout(*task.columns, kind="class")


def _folders(data: Path) -> list[Path]:
    if not data.is_dir():
        raise UserError("there is no such folder", where=data, accepted="a folder that holds a folder for each task")
    return sorted(folder for folder in data.iterdir() if folder.is_dir())
