"""The program `weixing serve`: how it starts, how it ends, and what it says of wrong options."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path
from threading import Event, Thread

import numpy as np
import pytest

from tests.serving.running import Client, Running, running
from weixing.cli.main import run
from weixing.inference.model import Model
from weixing.serving.server import is_loopback

CLIENTS = 8


def test_a_signal_under_load_loses_no_request_that_was_taken(folders: dict[str, str], models: dict[str, Model]) -> None:
    """Every answer comes whole and right; what got none was never taken, by the server's own count."""
    command = [sys.executable, "-m", "weixing", "serve", "--model", f"m={folders['first']}", "--port", "0", "--json"]
    command += ["--precision", "float32"]  # as the models beside which its answers are held
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        started = json.loads(process.stdout.readline())
        assert started["models"] == ["m"]
        assert started["url"] == f"http://127.0.0.1:{started['port']}"
        expected = models["first"].features(["你好世界", "北京"])
        under_load = Event()

        def send(_: int) -> Counter:
            outcomes: Counter = Counter()
            client = Client(started["port"])
            while True:
                try:
                    reply = client.ask("/features", {"texts": ["你好世界", "北京"]})
                except (HTTPException, OSError):  # no answer at all: not taken
                    client.connection.close()
                    if outcomes["refused"] == 2:
                        return outcomes
                    outcomes["refused"] += 1
                    continue
                assert reply.status == 200
                np.testing.assert_allclose(reply.json["vectors"], expected, rtol=1e-4, atol=1e-5)
                outcomes["answered"] += 1
                if outcomes["answered"] == 10:
                    under_load.set()

        with ThreadPoolExecutor(CLIENTS) as pool:
            clients = [pool.submit(send, number) for number in range(CLIENTS)]
            assert under_load.wait(20)
            process.send_signal(signal.SIGTERM)
            outcomes = sum((client.result(20) for client in clients), Counter())
        _, errors = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 128 + signal.SIGTERM
    assert "Traceback" not in errors
    taken, answered = map(int, re.search(r"stopped by SIGTERM: (\d+) requests taken, (\d+) answered", errors).groups())
    assert taken == answered == outcomes["answered"]


def test_ctrl_c_ends_an_idle_service(folders: dict[str, str], capfd: pytest.CaptureFixture[str]) -> None:
    def interrupt() -> None:
        deadline = time.monotonic() + 20
        while "weixing serve: http://127.0.0.1:" not in "".join(seen):
            seen.append(capfd.readouterr().err)
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    seen: list[str] = []
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    thread = Thread(target=interrupt)
    thread.start()
    assert run(["serve", "--model", folders["first"], "--port", "0"]) == 130
    thread.join()
    assert "stopped by SIGINT: 0 requests taken, 0 answered" in "".join(seen) + capfd.readouterr().err
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert run(["serve", *arguments]) == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    assert "Traceback" not in streams.err
    return streams.err.splitlines()[-1]


def test_a_port_that_is_taken(folders: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        message = refused(capsys, "--model", folders["first"], "--port", port)
    assert message.startswith(f"weixing: --host 127.0.0.1 --port {port}: cannot listen: Address already in use.")
    assert "cannot listen" in refused(capsys, "--model", folders["first"], "--host", "192.0.2.1", "--port", "0")


def test_a_model_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "there is no model in this folder" in refused(capsys, "--model", str(tmp_path), "--port", "0")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "a=x", "--model", "a=y"], "two models are called 'a'"),
        (["--model", "=x"], "--model '=x'"),
        (["--model", "a="], "--model 'a='"),
        (["--model", "2/128", "--token-file", "nowhere"], "nowhere: cannot read the token"),
        (["--model", "2/128", "--token-file", "empty"], "empty: this is no token"),
        (["--model", "2/128", "--token-file", "spaces"], "spaces: this is no token"),
        (["--model", "2/128", "--port", "70000"], "--port"),
        ([], "--model"),
    ],
)
def test_wrong_options(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").write_text("\n")
    Path("spaces").write_text("two words\n")
    assert message in refused(capsys, *arguments)


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    message = refused(capsys, "--model", "2/128")
    assert "uvicorn" in message
    assert "pip install 'weixing[serve]'" in message


@pytest.mark.parametrize(("token", "warns"), [(None, True), ("secret", False)])
def test_it_warns_where_everyone_can_use_it(
    token: str | None, warns: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("WEIXING_TOKEN", raising=False)
    if token:
        monkeypatch.setenv("WEIXING_TOKEN", token)
    assert run(["serve", "--model", str(tmp_path), "--host", "0.0.0.0", "--port", "0"]) == 2  # has no model
    assert ("warning: everyone who can reach" in capsys.readouterr().err) == warns


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.1.2.3", True), ("::1", True), ("0.0.0.0", False), ("::", False), ("192.0.2.1", False)],
)
def test_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) == loopback


def test_models_beyond_the_limit_are_loaded_when_they_are_asked_for(folders: dict[str, str], models) -> None:
    from weixing.serving.limits import Limits

    with running(folders, lambda folder: models[Path(folder).name], Limits(models=2)) as service:
        assert _states(service) == ["loaded", "loaded", "unloaded"]
        assert service.ask("/features", {"texts": "你好", "model": "classifier"}).status == 200
        assert _states(service) == ["unloaded", "loaded", "loaded"]
        assert service.metric("weixing_models_loaded") == 2


def _states(service: Running) -> list[str]:
    return [entry["state"] for entry in service.ask("/models").json["models"]]
