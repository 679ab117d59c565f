"""`weixing table` from its command line: forms, languages, the picture, and what it refuses."""

import hashlib
import html
from pathlib import Path

import pytest

from tests.reporting.hand_made import many, result
from weixing.cli.main import run
from weixing.tasks.results import write_results


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two files of results, in the current one."""
    monkeypatch.chdir(tmp_path)
    write_results(Path("tuned/a/results.jsonl"), many())
    write_results(Path("tuned/b/results.jsonl"), [*many()[:2], result(85.0, model="mini", shape="4/256")])
    return Path("tuned")


def test_a_page_says_which_files_and_which_command_made_it(results: Path) -> None:
    Path("my speeds.csv").write_text("shape,texts_per_second\n2/128,3818.64\n")
    options = ["--format", "html", "--lang", "zh", "--speed", "my speeds.csv", "--out", "table.html"]
    assert run(["table", "tuned", *options]) == 0
    page = Path("table.html").read_text(encoding="utf-8")
    assert page.startswith('<!doctype html>\n<html lang="zh-Hans">')
    command = "weixing table tuned --format html --lang zh --speed 'my speeds.csv' --out table.html --overwrite"
    assert f"<pre><code>{html.escape(command)}</code></pre>" in page
    for file, entries in (("tuned/a/results.jsonl", 12), ("tuned/b/results.jsonl", 3), ("my speeds.csv", 1)):
        digest = hashlib.sha256(Path(file).read_bytes()).hexdigest()
        row = f'<td><code>{file}</code></td><td class="count">{entries}</td><td><code>{digest}</code></td>'
        assert row in page
    assert '<data value="3818.64">3,819</data>' in page


def test_folders_merge_and_chinese_is_spoken(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["table", "tuned/a", "tuned/b/results.jsonl", "--lang", "zh"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("| 模型 | 六项平均 | book_review |")
    assert "| mini | – | 85.0（1 个种子） |" in printed
    assert "84.4（3 次中最佳；84.2 ± 0.3，2 个种子）" in printed  # two of the three are in both files


def test_a_picture_beside_the_table(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    assert run(["table", "tuned", "--heat-map", "family.png", "--heat-map-of", "names (entity f1)", "--json"]) == 0
    assert capsys.readouterr().out.startswith("[")
    assert Path("family.png").read_bytes().startswith(b"\x89PNG")
    assert run(["table", "tuned", "--heat-map", "family.png"]) == 2
    assert "family.png: the output exists already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--heat-map", "f.png", "--heat-map-of", "x"], "--heat-map-of: there is no column 'x'. Accepted: score, book"),
        (["--heat-map-of", "score"], "--heat-map-of: there is no picture to draw. Name it with --heat-map"),
        (["--speed", "none.csv"], "none.csv: there is no such file. Accepted: CSV with the columns shape and texts_"),
        (["--lang", "fr"], "--lang"),
        (["--format", "pdf"], "--format"),
        (["--out", "tuned"], "tuned: this is a folder"),
        (["nowhere"], "nowhere: there is no such file or folder"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_made(results: Path, capsys, options: list[str], message: str) -> None:
    before = sorted(Path().rglob("*"))
    assert run(["table", "tuned", *options]) == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    assert message in streams.err
    assert streams.err.count("\n") == 1
    assert sorted(Path().rglob("*")) == before
