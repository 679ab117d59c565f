"""The bench of recipes: its trials, one run to its end and not twice, and the page's verdicts."""

import json
import lzma
import sys
from pathlib import Path

import pytest

from bench import quality, quality_page
from bench.headline import headline, tokens_needed
from bench.trials import BUDGET_TOKENS, TRIALS, UER_LEARNING_RATES, Trial


def test_every_trial_has_a_name_of_its_own_and_the_tokens_that_its_study_allows():
    assert len({trial.name for trial in TRIALS}) == len(TRIALS)
    for trial in TRIALS:
        allowed = {"uer": (1,), "levers": (5, 20)}.get(trial.study) or (int(trial.study[2:]),)
        fed = trial.steps * trial.batch_size * 128
        assert any(abs(fed / (BUDGET_TOKENS[trial.model] / share) - 1) < 0.01 for share in allowed), trial
    for model in BUDGET_TOKENS:
        rates = {
            dict(trial.options)["--learning-rate"] for trial in TRIALS if trial.study == "uer" and trial.model == model
        }
        assert rates == set(UER_LEARNING_RATES)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "data" / "corpus"
    folder.mkdir(parents=True)
    for name in ("open", "research", "heldout"):
        with lzma.open(folder / f"{name}.jsonl.xz", "wt", encoding="utf-8") as stream:
            for number in range(8):
                text = f"第{number}篇文章说的是天气和城市，今天北京下雨，明天上海天晴。" * 6
                stream.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
    return tmp_path / "data"


def test_a_trial_is_run_once_and_its_line_holds_what_the_page_needs(corpus, tmp_path, monkeypatch):
    out, trial = tmp_path / "out", Trial("N/5", "2/128", "weixing", 4 * 2 * 128, 2)
    monkeypatch.setattr(quality, "TRIALS", [trial])
    monkeypatch.setattr(
        sys, "argv", ["quality", "run", "--data", str(corpus), "--work", str(tmp_path / "work"), "--out", str(out)]
    )
    assert quality.main() == 0
    text = (out / "trials.jsonl").read_text(encoding="utf-8")
    line = json.loads(text)
    assert line["name"] == trial.name
    assert line["tokens"] == 4 * 2 * 128
    assert set(line["held_out"]) == {"packed", "uer"}
    assert line["curve"][-1]["tokens"] == line["tokens"]
    assert line["curve"][-1]["eval_loss"] == pytest.approx(
        line["held_out"]["packed"]["loss"], abs=0.02
    )  # bf16, float32
    monkeypatch.setattr(quality, "measure", lambda *_: pytest.fail("run twice"))
    assert quality.main() == 0
    assert (out / "trials.jsonl").read_text(encoding="utf-8") == text


def line(study: str, recipe: str, loss: float, tokens: int, seed: int = 7, **options: str) -> quality_page.Line:
    return {
        "study": study, "model": "2/128", "recipe": recipe, "tokens": tokens, "seed": seed, "options": options,
        "batch_size": 16, "seconds": 60.0, "curve": [{"tokens": tokens, "seconds": 60.0, "eval_loss": loss}],
        "held_out": {"packed": {"loss": loss, "accuracy": 0.2}, "uer": {"loss": loss + 1, "accuracy": 0.1}},
    }  # fmt: skip


def test_the_page_judges_the_mean_of_the_seeds_against_the_right_rate(tmp_path):
    lines = [
        line("uer", "uer", 5.0, 60_000_000, **{"--learning-rate": "1e-3"}),
        line("uer", "uer", 6.0, 60_000_000, **{"--learning-rate": "1e-4"}),
        line("N/5", "weixing", 4.8, 12_000_000),
        line("N/5", "weixing", 5.4, 12_000_000, seed=8),
        line("N/20", "weixing", 5.9, 3_000_000),
        line("levers", "weixing", 4.5, 12_000_000, **{"--learning-rate": "2e-3"}),
    ]
    quality_page.write(lines, [], tmp_path)
    page = (tmp_path / "quality.md").read_text(encoding="utf-8")
    assert "N/5: 5.100 (mean of 2 seeds) does NOT reach `uer` at its best rate after N: 5.000" in page
    assert "N/20: 5.900 (one seed) reaches `uer` as published (1e-4) after N: 6.000" in page
    assert "| `--learning-rate 2e-3` | 12.0 M | 4.500 | -0.300 |" in page
    assert (tmp_path / quality_page.PLOT).stat().st_size > 1000


def test_tokens_needed_are_between_the_runs_on_either_side_and_none_is_made_up():
    runs = [line("N/5", "weixing", 4.0, 4_000_000), line("N/20", "weixing", 5.0, 1_000_000)]
    assert tokens_needed(runs, 4.5) == pytest.approx(2_000_000)  # half way, on a logarithmic axis
    assert tokens_needed(runs, 4.0) == pytest.approx(4_000_000)
    assert tokens_needed(runs, 5.2) == 1_000_000
    assert tokens_needed(runs, 3.9) is None


def test_the_headline_says_the_ratio_and_where_it_is_a_bound_or_not_reached():
    own = [line("quick", "weixing", 4.0, 4_000_000), line("quick", "weixing", 5.0, 1_000_000)]
    for reached, said in ((4.5, "needs 2.00 M, 5 times fewer"), (6.0, "at most 1.00 M, 10 times fewer or more"),
                          (3.0, "not reached by recipe weixing after 4.00 M")):  # fmt: skip
        assert said in headline([*own, line("quick", "uer", reached, 10_000_000, **{"--learning-rate": "1e-3"})])


def test_quick_runs_both_recipes_and_prints_the_ratio(corpus, tmp_path, monkeypatch, capsys):
    trials = [Trial("quick", "2/128", "uer", 4 * 4 * 128, 4, (("--learning-rate", "1e-3"),)),
              Trial("quick", "2/128", "weixing", 4 * 4 * 128, 4)]  # fmt: skip
    monkeypatch.setattr(quality, "QUICK", trials)
    monkeypatch.setattr(sys, "argv", ["quality", "--quick", "--data", str(corpus), "--out", str(tmp_path / "out")])
    assert quality.main() == 0
    kept = [json.loads(text) for text in (tmp_path / "out" / "quick.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [each["name"] for each in kept] == [trial.name for trial in trials]
    assert capsys.readouterr().out.strip() == headline(kept)
