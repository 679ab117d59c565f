"""`weixing tasks`: the named tasks, and what a folder of data holds of them."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from weixing.tasks.catalogue import NAMED, NamedTask
from weixing.tasks.checking import Check


def run(
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME", help="Default: all.")] = None,
    data: Annotated[Path | None, typer.Option(help="Check what this folder of task folders holds.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """The public tasks that have names, everything about those that are named, or with --data the state of each:
    complete, partial (fewer rows, or another file in the place of training), altered (other rows, labels or
    edition), missing.

    Exit code 2: the data of a task are altered, or those of a NAME are missing. Partial data pass; results say so.

    Example: weixing tasks lcqmc tnews --data tasks
    """
    from weixing.errors import UserError
    from weixing.tasks.checking import check

    for name in names or ():
        if name not in NAMED:
            raise UserError(f"there is no named task {name!r}", accepted=", ".join(NAMED))
    tasks = [NAMED[name] for name in dict.fromkeys(names or NAMED)]
    checks = {task.name: check(task, data) for task in tasks} if data is not None else {}
    if as_json:
        print(json.dumps([_row(task, checks.get(task.name)) for task in tasks], ensure_ascii=False, indent=2))
    elif checks:
        _print_states(list(checks.values()))
    elif names:
        print("\n\n".join(_describe(task) for task in tasks))
    else:
        _print_list(tasks)
    refused = [found for found in checks.values() if found.state == "altered" or (names and found.state == "missing")]
    if refused:
        raise UserError(
            ", ".join(f"{found.task} is {found.state}" for found in refused),
            where=data,
            accepted="data that are complete, or partial",
        )


def _print_list(tasks: list[NamedTask]) -> None:
    print(f"{'name':14} {'texts':7} {'labels':>6} {'train':>8} {'dev':>7}  title")
    for task in tasks:
        print(
            f"{task.name:14} {'pairs' if task.pairs else 'single':7} {len(task.labels):>6} {task.train.rows:>8,} "
            f"{task.dev.rows:>7,}  {task.title} · {task.title_zh}"
        )


def _print_states(checks: list[Check]) -> None:
    for found in checks:
        rows = ", ".join(f"{split} {count:,}" for split, count in found.rows.items())
        print(f"{found.task:14}  {found.state:8}  {rows}".rstrip())
        for finding in found.findings:
            print(f"{'':16}{finding}")


def _describe(task: NamedTask) -> str:
    labels = ", ".join(f"{number} {name}" if name else number for number, name in task.labels.items())
    parts = {"train": task.train, "dev": task.dev, "test": task.test}
    lines = [
        ("texts", "pairs" if task.pairs else "single"),
        ("labels", labels if len(task.labels) < 20 else f"0 to {len(task.labels) - 1}"),
        ("metric", task.metric),
        *[
            (split, f"{part.rows:,} rows" + (f", SHA-256 of the file {part.sha256}" if part.sha256 else ""))
            for split, part in parts.items()
        ],
        ("files", f"{' or '.join(task.train_files)}; {' or '.join(task.dev_files)}"),
        ("source", task.source),
        ("licence", task.licence),
        *[("note", quirk) for quirk in task.quirks],
    ]
    return "\n".join([f"{task.name}: {task.title} · {task.title_zh}", *(f"  {key:8} {value}" for key, value in lines)])


def _row(task: NamedTask, found: Check | None) -> dict[str, object]:
    return asdict(task) | ({"check": asdict(found)} if found is not None else {})
