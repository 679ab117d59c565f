"""The table of docs/formats.md, from bench/results/formats.jsonl, which the tests append to (`make formats`)."""

import json
from pathlib import Path

from bench.children import ROOT
from weixing.errors import UserError
from weixing.files import atomic_file

DATA, PAGE = ROOT / "bench" / "results" / "formats.jsonl", ROOT / "docs" / "formats.md"
START, END = "<!-- formats:table -->\n", "<!-- formats:end -->"
DIRECTIONS = ("in", "out")


def table(file: Path) -> str:
    """Format, direction, what was compared with what, and the largest difference of all tests that noted one."""
    worst: dict[tuple[str, str, str], float] = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        note = json.loads(line)
        key = (note["format"], note["direction"], note["against"])
        worst[key] = max(worst.get(key, 0.0), note["largest_difference"])
    if not worst:
        raise UserError("the tests have noted nothing", where=file, action="Run: make formats")
    rows = ["| format | direction | compared with | largest difference |", "| --- | --- | --- | ---: |"]
    for form, direction, against in sorted(worst, key=lambda key: (DIRECTIONS.index(key[1]), key)):
        difference = worst[form, direction, against]
        shown = "0" if difference == 0 else f"{difference:.1e}"
        rows.append(f"| {form} | {direction} | {against} | {shown} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    before, rest = PAGE.read_text(encoding="utf-8").split(START)
    with atomic_file(PAGE) as beside:
        beside.write_text(f"{before}{START}{table(DATA)}{END}{rest.partition(END)[2]}", encoding="utf-8")
