"""The scripts run as they stand on what is built in: a whole section, and those that need no peer."""

import json
import sys

from bench import __main__ as bench
from bench.children import run, worker
from bench.inputs import Inputs


def test_a_quick_look_at_fill_mask_on_what_is_built_in_measures_all_its_sides(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["bench", "fill_mask", "--quick", "--out", str(tmp_path)])
    monkeypatch.setattr(bench.signal, "signal", lambda *_: None)
    monkeypatch.delenv("UER_DIR", raising=False)
    assert bench.main() == 0
    case = json.loads((tmp_path / "fill_mask.json").read_text())["cases"]["2/128"]
    assert {*case["sides"], *case["skipped"]} == {"weixing, float32", "weixing, bf16", "transformers"}
    assert all(check["value"] > 0 for check in case["checks"] if "float32" in check["name"])


def test_tokenizers_counts_every_token_of_the_corpus(tmp_path):
    inputs = Inputs(tmp_path, None, quick=True)
    (tmp_path / "corpus.txt").write_text("中国的首都是北京。\n今天天气很好\n", encoding="utf-8")
    done = run(worker("hf_tokenize", "corpus.txt", inputs.vocabulary), tmp_path, timeout=60)
    assert done.result["tokens"] == 9 + 6
    assert done.result["seconds"] > 0
