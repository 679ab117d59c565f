"""Results as Markdown tables: figures by side, a figure by case, checks beside their targets, machines. Pure."""

import statistics
from collections.abc import Iterable, Sequence
from typing import Any

Cases = dict[str, Any]
"""What a section's result file holds, by case."""
Column = tuple[str, str, str]
"""A figure, its heading, and the format of its numbers."""

NOT_MEASURED = "Not measured yet.\n"
MISSING = "–"
CHECKS = ("", "measured", "over the rounds", "target", "met")


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, the first column to the left, the others to the right."""
    rules = ["---", *["---:"] * (len(header) - 1)]
    return "".join(f"| {' | '.join(row)} |\n" for row in (header, rules, *rows))


def by_side(cases: Cases, columns: Sequence[Column]) -> str:
    """A row for each side of each case, a column for each of the figures that any of them has."""
    sides = [(case, name, side) for case, value in cases.items() for name, side in value["sides"].items()]
    used = [column for column in columns if any(column[0] in side["figures"] for _, _, side in sides)]
    if not used:
        return NOT_MEASURED
    rows = [
        [f"{case}: {name}" if len(cases) > 1 else name, *(cell(side, figure, form) for figure, _, form in used)]
        for case, name, side in sides
    ]
    return table(["", *(heading for _, heading, _ in used)], rows)


def by_case(cases: Cases, figure: str, form: str, more: Sequence[Column] = (), of: str = "") -> str:
    """A row for each case, a column for each side that has the figure, then columns of further figures `of` a side."""
    names = dict.fromkeys(
        name for case in cases.values() for name, side in case["sides"].items() if figure in side["figures"]
    )
    if not names:
        return NOT_MEASURED
    rows = [
        [
            case,
            *(cell(value["sides"].get(name), figure, form) for name in names),
            *(cell(value["sides"].get(of), extra, extra_form) for extra, _, extra_form in more),
        ]
        for case, value in cases.items()
    ]
    return table(["", *names, *(heading for _, heading, _ in more)], rows)


def shares_of_peak(cases: Cases, ours: str, peer: str, peak: tuple[str, str]) -> str:
    """What the first target of each case asks of the machine, and what is reached, as shares of its peak.

    Args:
        ours, peer: the sides that the target compares, by their ``gflops``.
        peak: a side and its figure.
    """
    rows = []
    for name, case in cases.items():
        target = next(
            (check["target"] for check in case["checks"] if check["target"] and check["met"] is not None), None
        )
        values = [case["sides"].get(side, {}).get("figures", {}).get(figure) for side, figure in
                  ((peer, "gflops"), (ours, "gflops"), peak)]  # fmt: skip
        if target and all(values):
            theirs, reached, most = (value["median"] for value in values)
            rows.append([name, f"{theirs:,.0f}", f"{target:g}×: {target * theirs / most:.0%}", f"{reached / most:.0%}"])
    header = ["", f"{peer}, useful GFLOP/s", "what the target asks of the peak", "reached"]
    return table(header, rows) if rows else NOT_MEASURED


def cell(side: dict[str, Any] | None, figure: str, form: str) -> str:
    """Median (min–max, if they differ) of a figure; a dash where there is none, FAILED where that is why."""
    if side is None or figure not in side["figures"]:
        return "FAILED" if side and side["failure"] and not side["figures"] else MISSING
    numbers = side["figures"][figure]
    median = format(numbers["median"], form)
    if numbers["min"] == numbers["max"]:
        return median
    return f"{median} ({format(numbers['min'], form)}–{format(numbers['max'], form)})"


def number(value: float | None) -> str:
    """A bare number for people, in about three digits; a small one as a power of ten."""
    if value is None:
        return MISSING
    size = abs(value)
    if size >= 100:
        return f"{value:,.0f}"
    if size >= 1:
        return f"{value:.2f}"
    return f"{value:.1e}" if 0 < size < 1e-3 else f"{value:.3f}"


def check_row(check: dict[str, Any]) -> list[str]:
    """A check as a row: what, value, over the rounds, target, whether it is met."""
    unit = check["unit"] if check["unit"] in ("", "×") else f" {check['unit']}"
    value, low, high, target = check["value"], check["low"], check["high"], check["target"]
    sense = "at least" if check["at_least"] else "at most"
    return [
        f"{check['name']}, against {check['peer']}" if check["peer"] else check["name"],
        MISSING if value is None else number(value) + unit,
        MISSING if low is None or low == high else f"{number(low)}–{number(high)}",
        MISSING if target is None else f"{sense} {target:g}{unit}",
        {True: "yes", False: "**no**", None: MISSING}[check["met"]],
    ]


def checks_table(sections: Sequence[Cases], targets_alone: bool = False) -> str:
    """Every check of these sections, or every one that has a target."""
    checks = [check for cases in sections for case in cases.values() for check in case["checks"]]
    rows = [check_row(check) for check in checks if check["target"] is not None or not targets_alone]
    return table(CHECKS, rows) if rows else NOT_MEASURED


def notes(cases: Cases) -> str:
    """Sides that failed, with the last line of what they said, and sides that were left out."""
    lines = []
    for name, case in cases.items():
        for side, value in case["sides"].items():
            if value["failure"]:
                lines.append(f"- {name}: {side} failed: `{value['failure'].splitlines()[-1]}`\n")
        lines += [f"- {name}: {side} left out: {reason}.\n" for side, reason in case["skipped"].items()]
    return "\n" + "".join(lines) if lines else ""


def commands(sides: Iterable[dict[str, Any]]) -> str:
    """What was run for these sides."""
    lines = dict.fromkeys(f"{side['command']}\n" for side in sides if side["command"])
    return f"\n```\n{''.join(lines)}```\n" if lines else ""


def machines(results: dict[str, Cases]) -> str:
    """The machines, versions and inputs that the results come from, each with the sections measured so."""
    groups: dict[str, list[tuple[str, str, int]]] = {}
    loads, busy = [], []
    for section, cases in results.items():
        for case in cases.values():
            machine = case["machine"]
            where = (
                *([machine["gpu"]] if machine.get("gpu") else []),
                machine["processor"],
                f"{machine['cores']} cores",
                f"{machine['memory_gb']:g} GB",
                machine["system"],
            )
            what = [f"{name} {version}" for name, version in case["versions"].items()]
            line = f"{', '.join((*where, *what))}. Inputs: {case['measured_on']}."
            groups.setdefault(line, []).append((section, case["measured"][:10], case["rounds"]))
            loads.append(machine["load_before"])
            if (cores := machine.get("busy_before")) is not None:
                busy.append(cores)
    if not loads:
        return NOT_MEASURED
    lines = []
    for line, measured in groups.items():
        sections, days, rounds = zip(*measured, strict=True)
        when = _range(days)
        lines.append(f"- {', '.join(dict.fromkeys(sections))} ({when}): {line} Rounds: {_range(rounds)}.\n")
    load = f"Load in the minute before a case, earlier cases included: {_median_and_most(loads)}."
    if busy:
        load += f" Cores that other work kept busy in the second before: {_median_and_most(busy)}."
    return f"{''.join(lines)}\n{load}\n"


def _range(values: Sequence[Any]) -> str:
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low} to {high}"


def _median_and_most(values: Sequence[float]) -> str:
    return f"median {statistics.median(values):.1f}, most {max(values):.1f}"
