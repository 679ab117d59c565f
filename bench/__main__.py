"""``python -m bench``: measure sections side by side, write their results, render the page and the ratios.

Makes a temporary folder for everything that is measured on, and removes it at the end, whatever happens.
"""

import argparse
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from bench import (
    faithful,
    features,
    fill_mask,
    finetune,
    gpu,
    growth,
    inference,
    plan,
    prepare,
    pretrain,
    record,
    render,
)
from bench.children import ROOT, SideFailed
from bench.inputs import Inputs
from bench.setting import Setting
from bench.tables import checks_table
from bench.uer import VARIABLE, Uer, find
from weixing.errors import UserError
from weixing.progress import say
from weixing.training.devices import has_bf16

SECTIONS = {
    "prepare": prepare.cases,
    "pretrain": pretrain.cases,
    "finetune": finetune.cases,
    "fill_mask": fill_mask.cases,
    "features": features.cases,
    "inference": inference.cases,
    "growth": growth.cases,
    "faithful": faithful.cases,
    "gpu": gpu.cases,
    "plan": plan.cases,
}
RENDER = "render"
RESULTS = ROOT / "bench" / "results" / "speed"
QUIET = 0.5  # cores at work for something else that are not worth a word


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(
        "python -m bench",
        description="Measure this project beside transformers and, where the environment variable "
        f"{VARIABLE} names a checkout of it, beside UER-py.",
    )
    add = parser.add_argument
    what = f"{', '.join(SECTIONS)}, {RENDER} (write the page from the results); default: all"
    add("sections", nargs="*", metavar="SECTION", help=what)
    add("--data", type=Path, help="folder with bench/, vocab/ and tasks/; default: what is built in")
    add("--out", type=Path, help=f"folder for the results; default: {RESULTS.relative_to(ROOT)}")
    add("--rounds", type=int, default=3, help="how often each side is run, in turn; default: 3")
    add("--only", default="", metavar="TEXT", help="only cases with this in their name, such as 12/768")
    add("--quick", action="store_true", help="only see that everything runs: one round, little work; needs an --out")
    add("--temporary", type=Path, help="where the temporary folder (2 GB) is made; default: the system's place")
    given = parser.parse_args()
    if unknown := set(given.sections) - {*SECTIONS, RENDER}:
        parser.error(f"no such section: {', '.join(sorted(unknown))}")
    if given.quick and given.out is None:
        parser.error("--quick measures nothing worth keeping: name a folder for it with --out")
    if given.rounds < 1:
        parser.error("--rounds: 1 or more")
    given.out = given.out or RESULTS
    given.sections = given.sections or [*SECTIONS, RENDER]
    given.rounds = 1 if given.quick else given.rounds
    return given


def measure(section: str, setting: Setting, out: Path, only: str) -> list[str]:
    """Measure the cases of a section, each written as soon as it is finished; what failed."""
    uer = setting.uer.version if isinstance(setting.uer, Uer) else None
    failed: list[str] = []
    for name, run in SECTIONS[section](setting).items():
        if only not in name:
            continue
        say(f"\n{section}: {name}")
        facts: dict[str, Any] = {
            "machine": record.machine(),
            "versions": record.versions(uer),
            "measured_on": setting.inputs.description,
        }
        if (busy := facts["machine"]["busy_before"] or 0.0) > QUIET:
            say(f"warning: {busy:.1f} cores are at work for something else: what is measured now will be too slow")
        try:
            case = run()
        except SideFailed as failure:  # in what comes before the first round
            say(f"FAILED\n{failure}")
            failed.append(f"{section}, {name}")
            continue
        record.write_case(out / f"{section}.json", section, name, case, facts)
        failed += [f"{section}, {name}: {side}" for side, measured in case.sides.items() if measured.failure]
    return failed


def main() -> int:
    """Run it; the exit code: 1 if a side failed, after all others are measured and written; 2 for wrong input."""
    given = arguments()
    failed: list[str] = []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that children end and the folder goes
    measured = [section for section in given.sections if section != RENDER]
    try:
        if measured:
            with tempfile.TemporaryDirectory(prefix="weixing-bench-", dir=given.temporary) as folder:
                inputs = Inputs(Path(folder), given.data.resolve() if given.data else None, given.quick)
                bf16 = has_bf16(torch.device("cpu"))
                setting = Setting(inputs, find(inputs), given.rounds, bf16, given.quick)
                if isinstance(setting.uer, str):
                    say(f"UER-py is left out: {setting.uer}")
                for section in measured:
                    failed += measure(section, setting, given.out, given.only)
        for what in failed:
            say(f"FAILED: {what}")
        if RENDER in given.sections:
            render.render(given.out, ROOT if given.out.resolve() == RESULTS else None)
        print(checks_table(list(render.load(given.out).values())))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
