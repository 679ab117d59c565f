"""`make chaos`: faults, and what comes of them: the same result, or a clear error; no data lost. No part of the suite.

Every fault is tried on processes of its own with a tiny model and the built-in corpus. Faults of grids and of several
processes are those of this project's tests, which are run for it. Prints a table, and writes bench/results/chaos.jsonl
and docs/chaos.md. As root, on Linux, full disks and a cut network are real ones. The ordinary suite has a short
version of each.
"""

import argparse
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

from bench.children import ROOT
from bench.record import machine
from tests.acceptance import chaos_faults as faults
from tests.acceptance.chaos_faults import ERROR, SAME, Fault
from tests.acceptance.chaos_lab import Failed, Lab
from weixing.progress import say

RESULTS = ROOT / "bench" / "results" / "chaos.jsonl"
PAGE = ROOT / "docs" / "chaos.md"


class Tried(NamedTuple):
    """A fault that is tried here, so many times."""

    what: str
    fault: Fault
    times: int = 1
    root: bool = False


class Tested(NamedTuple):
    """A fault that tests of this project try, each of which passes only if its outcome is this one."""

    what: str
    outcome: str
    tests: tuple[str, ...]


_RESUMED = "tests/data/test_prepare_resumed.py::"
_GRID, _LONG_GRID = "tests/tasks/test_killed_grid.py::", "tests/tasks/check_grid.py::"
_RANKS, _LAUNCH, _HOSTS = (f"tests/training/{name}.py::" for name in ("test_ranks", "test_launch", "check_elastic"))
FAULTS: tuple[Tried | Tested, ...] = (
    Tried("pretrain: SIGKILL at a random moment", faults.kills, 20),
    Tried("pretrain: SIGKILL while a checkpoint is written", faults.kills_while_saving, 20),
    Tried("pretrain: SIGKILL between two outputs, any two", faults.kills_between_outputs),
    Tried("pretrain: SIGTERM (exit code 143 within 10 s)", faults.signals(signal.SIGTERM), 10),
    Tried("pretrain: SIGINT (exit code 130 within 10 s)", faults.signals(signal.SIGINT), 10),
    Tried("pretrain: the disk is full", faults.full_disk, 8, root=True),
    Tried("pretrain: a file may not grow (ulimit)", faults.file_limit),
    Tried("pretrain: the newest checkpoint is damaged", faults.damaged_checkpoint),
    Tried("pretrain: all checkpoints are damaged", faults.all_damaged),
    Tried("pretrain: shards or vocabulary are damaged or missing", faults.damaged_shards),
    Tried("pretrain: run.json is damaged or missing", faults.damaged_run_record),
    Tried("pretrain: the last report is half written", faults.cut_report),
    Tried("prepare: SIGKILL at a random moment", faults.prepare_killed, 10),
    Tried("prepare: SIGKILL at a random moment, then resumed", faults.prepare_resumed, 5),
    Tried("prepare: the disk is full", faults.prepare_full_disk, root=True),
    Tried("prepare: the disk is full, then resumed", faults.prepare_full_disk_resumed, root=True),
    Tested("prepare: a corpus file is damaged, changed or gone, then resumed", SAME, (
        _RESUMED + "test_a_damaged_compressed_file_is_named_with_its_byte_and_goes_on_once_it_is_mended",
        _RESUMED + "test_a_file_changed_where_it_had_been_read_is_prepared_anew_from_its_beginning",
        _RESUMED + "test_a_corpus_file_that_vanishes_is_named_and_it_goes_on_once_it_is_back",
    )),
    Tested("finetune, a grid: killed at random moments, between any two outputs, with two processes", SAME, (
        _GRID + "test_killed_at_three_moments_it_leaves_the_same_as_one_that_was_not",
        _LONG_GRID + "test_killed_between_any_two_outputs_it_leaves_the_same",
        _LONG_GRID + "test_killed_three_times_with_two_processes_it_leaves_the_same",
        _GRID + "test_a_process_that_is_killed_takes_its_cell_along_and_no_other",
    )),
    Tested("finetune, a grid: SIGTERM, SIGINT", SAME, (
        _LONG_GRID + "test_a_signal_ends_all_processes_and_keeps_what_is_done",
    )),
    Tested("finetune, a grid: the disk is full", SAME, (_GRID + "test_a_disk_that_fills_up_leaves_what_is_done",)),
    Tested("2 processes: both killed, then resumed; resumed with another number", SAME, (
        _RANKS + "test_a_run_of_two_processes_that_is_killed_goes_on_to_the_same_losses",
        _RANKS + "test_a_run_goes_on_with_another_number_of_processes_in_the_same_order",
    )),
    Tested("2 processes: one killed, started anew by torchrun", SAME, (
        _HOSTS + "test_a_process_that_was_killed_is_started_anew_and_the_run_goes_on",
    )),
    Tested("2 or 3 processes: a signal to one, or to torchrun", SAME, (
        _LAUNCH + "test_a_signal_to_one_process_stops_all_of_them_at_one_step",
        _HOSTS + "test_a_signal_to_torchrun_saves_and_ends_within_ten_seconds",
    )),
    Tested("3 processes: one is killed, fails, or stands still", ERROR, (
        _LAUNCH + "test_a_process_that_is_killed_or_fails_is_named_by_the_others",
        _LAUNCH + "test_a_process_that_stands_still_is_named_with_its_step",
    )),
    Tested("2 or 3 processes: one does not come, or has other data, vocabulary or options; the port is taken", ERROR, (
        _LAUNCH + "test_a_process_that_does_not_come",
        _LAUNCH + "test_processes_that_differ_in_data_vocabulary_or_options",
        _LAUNCH + "test_a_port_where_something_else_listens",
    )),
    Tested("2 hosts: a process killed on one; one much slower", SAME, (
        _HOSTS + "test_a_process_killed_on_one_of_two_hosts",
        _HOSTS + "test_a_slow_process_on_one_of_two_hosts",
    )),
    Tested("2 hosts: the network is cut for a minute", SAME, (_HOSTS + "test_a_host_cut_off_for_a_minute",)),
    Tested("2 hosts: the network is cut for good", ERROR, (_HOSTS + "test_a_host_cut_off_for_good",)),
)  # fmt: skip


def try_fault(row: Tried, lab: Lab, times: int) -> dict[str, Any]:
    """How often it was tried, with which outcomes; what went wrong, if something did."""
    outcomes: Counter[str] = Counter()
    failed = ""
    try:
        outcomes.update(row.fault(lab, random.Random(7), times))
    except Failed as failure:
        failed = str(failure)
    return {"tried": outcomes.total() + bool(failed), **outcomes, "failed": failed}


def try_tests(row: Tested) -> dict[str, Any]:
    """The same, each test of the row being one time, or several where it has parameters."""
    command = [sys.executable, "-m", "pytest", "-o", "addopts=", "--import-mode=importlib", "-p", "no:cacheprovider"]
    done = subprocess.run([*command, *row.tests], cwd=ROOT, capture_output=True, text=True)
    last = done.stdout.rstrip().splitlines()[-1]
    counts = {name: int(number) for number, name in re.findall(r"(\d+) (passed|failed|skipped|error)", last)}
    passed, skipped = counts.get("passed", 0), counts.get("skipped", 0)
    failed = "" if done.returncode == 0 else done.stdout[-2000:]
    return {"tried": sum(counts.values()) - skipped, row.outcome: passed, "failed": failed}


def table(rows: list[dict[str, Any]]) -> str:
    """In Markdown."""
    lines = ["| fault | times tried | same result | clear error | data lost |", "|---|---|---|---|---|"]
    for row in rows:
        lost = f"FAILED: {row['failed'].splitlines()[0]}" if row["failed"] else "none"
        lines.append(f"| {row['fault']} | {row['tried']} | {row.get(SAME, 0)} | {row.get(ERROR, 0)} | {lost} |")
    return "\n".join(lines)


def page(rows: list[dict[str, Any]]) -> str:
    """docs/chaos.md."""
    where = rows[-1]["machine"]
    return f"""# Faults and what comes of them

`make chaos` tries each fault so many times and writes this table
([bench/results/chaos.jsonl](../bench/results/chaos.jsonl); {rows[-1]["at"][:10]}, {where["cores"]} cores of
{where["processor"]}, {sum(row["seconds"] for row in rows) / 60:.0f} minutes in all).

{table(rows)}

- **Same result**: once resumed, it came to what it comes to without the fault: for one process the same model to the
  last bit, by the same reports; for several, losses within 1e-6, relative.
- **Clear error**: exit code 2 (1 where another process of the run is the reason) and one message that names what is
  wrong and where; what was on the disk before is still there, and whole, and a run that goes on once the fault is
  mended is the same.
- A run that is killed before its run.json is written has not begun: `--resume` says that there is none.

How checkpoints are made to stand this: [checkpoints.md](checkpoints.md). Several processes: [scale.md](scale.md).
"""


def main() -> int:
    """Try them; the exit code."""
    parser = argparse.ArgumentParser("python -m tests.acceptance.chaos", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", default=[""], metavar="TEXT", help="only faults with one of these in them")
    parser.add_argument("--quick", action="store_true", help="once, and a smaller model; needs an --out")
    parser.add_argument("--out", type=Path, default=RESULTS, help=f"default: {RESULTS.relative_to(ROOT)}")
    parser.add_argument("--temporary", type=Path, help="where the temporary folder is made")
    given = parser.parse_args()
    if given.quick and given.out == RESULTS:
        parser.error("--quick tries too little to be kept: name a file with --out")
    known = [json.loads(line) for line in given.out.read_text().splitlines()] if given.out.exists() else []
    by_name = {row["fault"]: row for row in known}
    with tempfile.TemporaryDirectory(prefix="weixing-chaos-", dir=given.temporary) as folder:
        lab = Lab(Path(folder), steps=15, model="1/64") if given.quick else Lab(Path(folder))
        for row in FAULTS:
            if not any(text in row.what for text in given.only):
                continue
            if isinstance(row, Tried) and row.root and os.geteuid():
                say(f"not tried, since it needs root: {row.what}")
                continue
            began = time.monotonic()
            result = try_tests(row) if isinstance(row, Tested) else try_fault(row, lab, 1 if given.quick else row.times)
            if not result["tried"]:
                say(f"not tried, since it needs root: {row.what}")
                continue
            by_name[row.what] = {
                "fault": row.what, **result, "seconds": round(time.monotonic() - began, 1), "machine": machine(),
                "at": datetime.now(UTC).isoformat(timespec="seconds"),
            }  # fmt: skip
            say(table([by_name[row.what]]).splitlines()[-1] + (f"\n{result['failed']}" if result["failed"] else ""))
            rows = [by_name[row.what] for row in FAULTS if row.what in by_name]
            given.out.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    rows = [by_name[row.what] for row in FAULTS if row.what in by_name]
    if given.out == RESULTS and rows:
        PAGE.write_text(page(rows), encoding="utf-8")
    print(table(rows))
    bad = sum(bool(row["failed"]) for row in rows)
    print(f"\n{sum(row['tried'] for row in rows)} faults, " + (f"{bad} kinds FAILED" if bad else "data lost: none"))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
