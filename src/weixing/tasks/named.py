"""Tasks by name: which training and dev file a name means. Lists folders; reads no file."""

from pathlib import Path
from typing import Literal

from weixing.errors import UserError
from weixing.text.sample.generator import sample_task

BUILT_IN: tuple[Literal["sentiment", "pairs"], ...] = ("sentiment", "pairs")


def find_task(name: str, data: Path | None = None) -> tuple[Path, Path]:
    """The training and the dev file of the task `name`.

    `name` is a folder in `data` that holds one ``train.*`` and one ``dev.*``, or a task that comes with the package.

    Raises:
        UserError: no such task, or a folder without exactly one file of each kind.
    """
    folders = _task_folders(data) if data is not None else {}
    if name in folders:
        return _only(folders[name], "train"), _only(folders[name], "dev")
    for built_in in BUILT_IN:
        if name == built_in:
            folder = sample_task(built_in)
            return _only(folder, "train"), _only(folder, "dev")
    raise UserError(
        f"there is no task {name!r}",
        where=data,
        accepted=", ".join([*folders, *BUILT_IN]),
        action="Name the files instead: --train FILE --dev FILE"
        if data is not None
        else "Say where its folder is (--data DIR), or name the files: --train FILE --dev FILE",
    )


def name_of_files(train_file: Path) -> str:
    """What a task given as two files is called: ``reviews`` for ``reviews/train.tsv`` as for ``reviews.tsv``."""
    path = train_file.absolute()
    return path.parent.name if path.stem.startswith("train") and path.parent.name else path.stem


def _task_folders(data: Path) -> dict[str, Path]:
    if not data.is_dir():
        raise UserError("there is no such folder", where=data, accepted="a folder that holds a folder for each task")
    return {folder.name: folder for folder in sorted(data.iterdir()) if folder.is_dir() and any(folder.glob("train.*"))}


def _only(folder: Path, split: str) -> Path:
    files = sorted(folder.glob(f"{split}.*"))
    if len(files) != 1:
        found = ", ".join(file.name for file in files) or "none"
        raise UserError(
            f"{len(files)} {split} files ({found})",
            where=folder,
            accepted=f"one file {split}.tsv, {split}.json or {split}.jsonl",
            action="Name the files instead: --train FILE --dev FILE",
        )
    return files[0]
