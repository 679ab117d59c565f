"""``python -m bench``: measure sections side by side, write their results, render the page and the ratios.

Makes a temporary folder for everything that is measured on, and removes it at the end, whatever happens.
"""

import argparse
import signal
import sys
import tempfile
from pathlib import Path

from bench import faithful, features, fill_mask, finetune, growth, prepare, pretrain, record, render
from bench.children import ROOT, SideFailed
from bench.inputs import Inputs
from bench.setting import Setting
from bench.tables import checks_table
from bench.uer import VARIABLE, Uer, find
from weixing.errors import UserError
from weixing.progress import say

SECTIONS = {
    "prepare": prepare.cases,
    "pretrain": pretrain.cases,
    "finetune": finetune.cases,
    "fill_mask": fill_mask.cases,
    "features": features.cases,
    "growth": growth.cases,
    "faithful": faithful.cases,
}
RENDER = "render"
RESULTS = ROOT / "bench" / "results" / "speed"


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


def measure(section: str, setting: Setting, out: Path, only: str) -> None:
    """Measure the cases of a section, each written as soon as it is finished."""
    uer = setting.uer.version if isinstance(setting.uer, Uer) else None
    for name, run in SECTIONS[section](setting).items():
        if only not in name:
            continue
        facts = {
            "machine": record.machine(),
            "versions": record.versions(uer),
            "measured_on": setting.inputs.description,
            "rounds": setting.rounds,
        }
        say(f"\n{section}: {name}")
        record.write_case(out / f"{section}.json", section, name, run(), facts)


def main() -> int:
    """Run it; the exit code."""
    given = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that children end and the folder goes
    measured = [section for section in given.sections if section != RENDER]
    try:
        if measured:
            with tempfile.TemporaryDirectory(prefix="weixing-bench-", dir=given.temporary) as folder:
                inputs = Inputs(Path(folder), given.data.resolve() if given.data else None, given.quick)
                setting = Setting(inputs, find(inputs), given.rounds, given.quick)
                if isinstance(setting.uer, str):
                    say(f"UER-py is left out: {setting.uer}")
                for section in measured:
                    measure(section, setting, given.out, given.only)
        if RENDER in given.sections:
            render.render(given.out, ROOT if given.out.resolve() == RESULTS else None)
        print(checks_table(list(render.load(given.out).values())))
    except (UserError, SideFailed) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
