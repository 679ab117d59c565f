"""The page's files and what the page shows beside the models, over HTTP: headers, caching, tokens, openapi.json."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.reporting.test_runs import REPORTS, write_run
from tests.serving.running import Running, running
from weixing.cli.main import run as cli
from weixing.cli.serve import exhibits_of
from weixing.serving.family import family
from weixing.serving.limits import Limits
from weixing.serving.loading import loader
from weixing.serving.pages import PAGE, TYPES, Exhibits

TOKEN = "open-sesame"
NAMES = sorted("" if file.name == "index.html" else file.name for file in PAGE.iterdir() if file.suffix in TYPES)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "tiny", REPORTS)


@pytest.fixture(scope="module")
def service(folders: dict[str, str], run: Path) -> Iterator[Running]:
    """A service with a token and a run."""
    with running(folders, loader("auto", "float32"), Limits(), token=TOKEN, exhibits=Exhibits([run])) as service:
        yield service


def ask(service: Running, path: str, **headers: str):
    return service.ask(path, Authorization=f"Bearer {TOKEN}", **headers)


def test_every_file_of_the_page_is_whole_and_typed() -> None:
    assert {file.suffix for file in PAGE.iterdir()} == set(TYPES)
    assert {"", "style.css", "main.js", "icon.svg"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_files_come_without_a_token_and_allow_nothing_from_elsewhere(service: Running, name: str) -> None:
    reply = service.ask(f"/{name}")
    file = PAGE / (name or "index.html")
    assert reply.status == 200
    assert reply.json == file.read_text(encoding="utf-8")
    assert reply.headers["Content-Type"] == f"{TYPES[file.suffix]}; charset=utf-8"
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    policy = dict(part.strip().split(" ", 1) for part in reply.headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert {policy[kind] for kind in ("script-src", "style-src", "img-src", "connect-src")} == {"'self'"}
    assert {policy[kind] for kind in ("base-uri", "form-action", "frame-ancestors")} == {"'none'"}


@pytest.mark.parametrize("name", NAMES)
def test_files_name_nothing_that_lies_elsewhere(name: str) -> None:
    text = (PAGE / (name or "index.html")).read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"(https?:)?//[a-z0-9-]+\.[a-z]", text)
    assert not re.search(r"@import|url\(|innerHTML|insertAdjacentHTML|document\.write|\beval\(", text)


@pytest.mark.parametrize("path", ["/", "/main.js", "/family", "/runs"])
def test_what_a_browser_has_is_not_sent_again_until_it_changes(service: Running, path: str) -> None:
    first = ask(service, path)
    assert first.headers["Cache-Control"] == "no-cache"
    again = ask(service, path, If_None_Match=f'"other", W/{first.headers["ETag"]}')
    assert (again.status, again.json, again.headers["ETag"]) == (304, "", first.headers["ETag"])
    assert ask(service, path, If_None_Match='"other"').status == 200


def test_runs_are_those_of_now(service: Running, run: Path) -> None:
    before = ask(service, "/runs")
    assert before.json["runs"][0]["name"] == "tiny"
    assert before.json["runs"][0]["readings"]["train_loss"] == [9.0, 8.0, None]
    with open(run / "metrics.jsonl", "a") as stream:
        stream.write(json.dumps({**REPORTS[1], "step": 300, "train_loss": float("nan")}) + "\n")
    after = ask(service, "/runs", If_None_Match=before.headers["ETag"])
    assert after.status == 200
    assert after.json["runs"][0]["readings"]["step"][-1] == 300
    assert after.json["runs"][0]["readings"]["train_loss"][-1] is None
    assert after.json["runs"][0]["finished"] is True
    assert str(run) not in json.dumps(after.json)


def test_the_family_and_runs_ask_for_the_token_and_are_described(service: Running) -> None:
    assert service.ask("/family").status == service.ask("/runs").status == 401
    family = ask(service, "/family").json
    assert len(family["shapes"]) == 24
    described = service.ask("/openapi.json").json["paths"]
    for path in ("/family", "/runs"):
        assert described[path]["get"]["security"] == [{"token": []}]
        assert "200" in described[path]["get"]["responses"]


def test_the_command_takes_runs_results_and_speeds_as_files_have_them(run: Path, tmp_path: Path) -> None:
    speed, results = tmp_path / "speed.csv", tmp_path / "results.jsonl"
    speed.write_text("shape,texts_per_second\n2/128,4000\n")
    cell = {"epochs": 3, "batch_size": 32, "learning_rate": 3e-4, "seed": 7, "seconds": 1.0, "steps": 9}
    scored = {"model": "mine", "task": "lcqmc", "split": "dev", "metric": "accuracy", "score": 83.5, "shape": "2/128"}
    results.write_text(json.dumps({**scored, **cell, "correct": 7350, "total": 8802}) + "\n")
    shown = exhibits_of([run], [results], speed)
    assert (shown.runs, shown.speeds) == ([run], {"2/128": 4000.0})
    maps = {map_.column or map_.kind: map_ for map_ in family(shown.entries, shown.speeds).maps}
    assert (maps["lcqmc"].tiles["2/128"].value, maps["lcqmc"].tiles["2/128"].model) == (83.5, "mine")
    assert maps["speed"].tiles["2/128"].value == 4000.0


@pytest.mark.parametrize(
    "options", [("--runs", "gone"), ("--results", "gone"), ("--speed", "gone.csv")], ids=lambda options: options[0]
)
def test_what_is_not_there_to_show_ends_the_command(
    options: tuple[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli(["serve", "--model", "2/128", "--port", "0", *options]) == 2
    said = capsys.readouterr().err
    assert options[1] in said
    assert "Accepted: " in said
