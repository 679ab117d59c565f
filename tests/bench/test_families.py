"""The bench of families: a trial is run once, with a line for each shape, and the table has a row for it."""

import json
import lzma
import sys

import pytest

from bench import families
from bench.families import TRIALS, Trial


def test_every_trial_has_a_name_of_its_own():
    assert len({trial.name for trial in TRIALS}) == len(TRIALS)


def test_a_trial_is_run_once_and_its_lines_become_a_row(tmp_path, monkeypatch):
    (tmp_path / "data" / "corpus").mkdir(parents=True)
    for name in ("open", "research", "heldout"):
        with lzma.open(tmp_path / "data" / "corpus" / f"{name}.jsonl.xz", "wt", encoding="utf-8") as stream:
            for number in range(40):
                text = f"第{number}篇文章说的是天气和城市，今天北京下雨，明天上海天晴。" * 6
                stream.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
    trial = Trial(("1/64", "2/64"), 2, 0.5)
    monkeypatch.setattr(families, "TRIALS", [trial])
    out = tmp_path / "out"
    words = ["run", "--data", tmp_path / "data", "--work", tmp_path / "work", "--out", out]
    monkeypatch.setattr(sys, "argv", ["families", *map(str, words)])
    assert families.main() == 0
    lines = families.finished(out)
    assert [line["model"] for line in lines] == ["1/64", "2/64"]
    assert all(line["core_seconds"] > 0 and line["tokens"] == 2 * 16 * 128 for line in lines)
    monkeypatch.setattr(families, "measure", lambda *_: pytest.fail("run twice"))
    assert families.main() == 0

    losses = ", ".join(f"{line['held_out']['loss']:.3f}" for line in lines)
    row = f"| 1/64, 2/64 | `builtin`, 50 % | 0.0 M | {lines[0]['core_seconds']:.0f} | {losses} |"
    assert row in families.results(lines)
