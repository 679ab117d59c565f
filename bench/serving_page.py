"""The measured part of docs/serving.md, from bench/results/serving.json, which `make soak` writes."""

from pathlib import Path
from typing import Any

from bench.children import ROOT
from weixing.files import atomic_file, read_json

DATA, PAGE = ROOT / "bench" / "results" / "serving.json", ROOT / "docs" / "serving.md"
START, END = "<!-- serving:measured -->\n", "<!-- serving:end -->"


def measured(record: dict[str, Any]) -> str:
    """What happened under load, in words and a table."""
    soak, ends = record["soak"], record["ends"]
    models = ", ".join(f"{name} {shape}" for name, shape in record["models"].items())
    rows = ["| milliseconds | p50 | p95 | p99 |", "| --- | ---: | ---: | ---: |"]
    for kind, values in soak["milliseconds"].items():
        rows.append(f"| {kind} | {values['p50']:.1f} | {values['p95']:.1f} | {values['p99']:.1f} |")
    totals = {key: sum(entry[key] for entry in ends) for key in ("taken", "answered", "received")}
    host, busy = record["machine"], record["machine"]["busy_before"]
    return "\n".join(
        [
            f"{soak['requests']:,} requests of all kinds ({models}; 1 to 8 texts of 2 to 120 characters) over "
            f"{soak['connections']} connections, each of which asks again when it has its answer, and "
            f"{soak['clients_that_left']} clients that went away without waiting: {soak['wrong']} wrong or mixed-up "
            f"answers, {soak['unanswered']} lost, {soak['requests_per_second']:,.0f} requests/s.",
            "",
            *rows,
            "",
            f"SIGTERM under this load, {len(ends)} times: {totals['taken']:,} requests taken, {totals['answered']:,} "
            f"answered, {totals['received']:,} whole and right answers at the clients. schemathesis: "
            f"{record['schemathesis']['cases']:,} cases, {record['schemathesis']['findings']} findings. OpenAI's "
            f"client: {record['openai']['requests']} requests, {record['openai']['wrong']} wrong.",
            "",
            f"`make soak` ({record['measured'][:10]}), service and clients together on {_cores(host['cores'])} of "
            f"{host['processor']}, {'' if busy is None else f'{busy:g} cores busy with other work before, '}weixing "
            f"{record['versions']['weixing']}, torch {record['versions']['torch']}, float32.",
            "",
        ]
    )


def _cores(count: int) -> str:
    return "one core" if count == 1 else f"{count} cores"


def write_page(page: Path = PAGE, data: Path = DATA) -> None:
    """Put it into the page."""
    before, rest = page.read_text(encoding="utf-8").split(START)
    text = measured(read_json(data, "what `make soak` measured"))
    with atomic_file(page) as beside:
        beside.write_text(f"{before}{START}{text}{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    write_page()
