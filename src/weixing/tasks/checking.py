"""Are the data at hand those that a task's name stands for? Opens the files of a task.

* complete: every row of the publisher's, and no other (where their sum is not known: as many, with the same labels);
* partial: fewer rows, or another file in the place of the training file;
* altered: more rows, other labels, or other rows: another edition, or a file that was changed;
* missing: there is no file.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from weixing.errors import UserError
from weixing.tasks.catalogue import NamedTask, Part
from weixing.tasks.files import DataState, Examples, Task, make_task, read_examples
from weixing.tasks.locating import file_of, folder_of, layout_of

State = Literal["complete", "partial", "altered", "missing"]
_ORDER: tuple[State, ...] = ("complete", "partial", "altered", "missing")


@dataclass(frozen=True)
class Check:
    """What was found of one task; `findings` say what is not as it should be, and where. Files and rows by split."""

    task: str
    state: State
    findings: tuple[str, ...]
    files: dict[str, str]
    rows: dict[str, int]


def load_named(task: NamedTask, data: Path) -> Task:
    """The task with what `data` holds of it; the state of the data is on it, and no hindrance.

    Raises:
        UserError: a file is missing or malformed, or training and dev do not fit together.
    """
    folder = folder_of(task, data)
    train, dev = (_read(task, split, data, folder) for split in ("train", "dev"))
    state, findings = _judge(task, {"train": train, "dev": dev})
    same_labels = set(train.labels) | set(dev.labels) <= set(task.labels)
    named: DataState = "altered" if state == "missing" else state
    return make_task(task.name, train, dev, tuple(task.labels) if same_labels else None, named, "; ".join(findings))


def check(task: NamedTask, data: Path) -> Check:
    """Compare what `data` holds of a task with what was published; a file that cannot be read is a finding.

    Raises:
        UserError: there is no folder `data`.
    """
    folder = folder_of(task, data)
    examples: dict[str, Examples] = {}
    broken: list[tuple[State, str]] = []
    for split in ("train", "dev"):
        try:
            examples[split] = _read(task, split, data, folder)
        except MissingFile as error:
            broken.append(("missing", str(error)))
        except UserError as error:
            broken.append(("altered", str(error)))
    state, findings = _judge(task, examples)
    worst = max([state, *(state for state, _ in broken)], key=_ORDER.index)
    return Check(
        task.name,
        worst,
        (*dict.fromkeys(message for _, message in broken), *findings),
        {split: str(found.path) for split, found in examples.items()},
        {split: len(found) for split, found in examples.items()},
    )


def digest(examples: Examples) -> str:
    """SHA-256 of the rows in their order, whatever the form of the file: of ``[text, second text, label]`` as JSON."""
    total = hashlib.sha256()
    seconds: Sequence[str | None] = examples.second_texts or [None] * len(examples)
    for row in zip(examples.texts, seconds, examples.labels, strict=True):
        total.update(json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode())
    return total.hexdigest()


class MissingFile(UserError):
    """There is no file of a split."""


def _read(task: NamedTask, split: str, data: Path, folder: Path | None) -> Examples:
    if folder is None:
        raise MissingFile(
            f"there is no folder {task.folder or task.name}",
            where=data,
            accepted=f"a folder {task.folder or task.name} with {task.train_files[0]} and {task.dev_files[0]}",
            action=f"The data are from {task.source} (licence: {task.licence})",
        )
    names = task.train_files if split == "train" else task.dev_files
    file = file_of(folder, names, split)
    if file is None and split == "train":
        file = next((folder / name for name in task.stand_ins if (folder / name).is_file()), None)
    if file is None:
        raise MissingFile(
            f"there is no {split} file of {task.name}",
            where=folder,
            accepted=" or ".join(names),
            action=f"The data are from {task.source} (licence: {task.licence})",
        )
    examples = read_examples(file, layout_of(task, file))
    if (examples.second_texts is not None) != task.pairs:
        raise UserError(
            f"{task.name} has {'pairs of' if task.pairs else 'single'} texts, this file has not",
            where=file,
            accepted="text_a and text_b, or sentence1 and sentence2" if task.pairs else "text_a alone, or sentence",
        )
    return examples


def _judge(task: NamedTask, examples: dict[str, Examples]) -> tuple[State, list[str]]:
    found = [finding for split, some in examples.items() for finding in _compare(task, split, some)]
    return max((state for state, _ in found), key=_ORDER.index, default="complete"), [what for _, what in found]


def _compare(task: NamedTask, split: str, examples: Examples) -> list[tuple[State, str]]:
    """What tells `examples` from the split as published."""
    part: Part = task.train if split == "train" else task.dev
    name, rows = examples.path.name, len(examples)
    for line, label in zip(examples.lines, examples.labels, strict=True):
        if label not in task.labels:
            return [("altered", f"{name}:{line} has the label {label!r}, which {task.name} has not: another edition?")]
    if name in task.stand_ins:
        return [("partial", f"{split} is {name}, {rows:,} rows, in place of {part.rows:,}")]
    if rows < part.rows:
        return [("partial", f"{split} has {rows:,} of {part.rows:,} rows ({name})")]
    if rows > part.rows:
        return [("altered", f"{split} has {rows:,} rows, more than {part.rows:,} ({name}): another edition?")]
    if part.rows_sha256 is not None and digest(examples) != part.rows_sha256:
        return [("altered", f"{split} has {rows:,} rows as published, but others ({name})")]
    return []
