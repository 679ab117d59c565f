"""`weixing publish`: what is checked and listed before, what arrives, and what becomes of every kind of failure."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants
from huggingface_hub.utils import close_session

from tests.reporting.hub_store import READ_ONLY_TOKEN, TOKEN, HubStore, hub_store
from weixing.cli.main import run
from weixing.formats.huggingface import import_model

NAMES = [
    *("README.md", "config.json", "model.safetensors", "special_tokens_map.json", "tokenizer.json"),
    *("tokenizer_config.json", "vocab.txt"),
]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubStore]:
    """A hub on loopback that this process uploads to, as one who may write."""
    with hub_store() as store:
        monkeypatch.setattr(constants, "ENDPOINT", store.endpoint)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setattr(time, "sleep", lambda seconds: None)  # huggingface_hub waits before it tries again
        yield store
        close_session()


@pytest.fixture(scope="session")
def model_with_card(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published") / "tiny"
    shutil.copytree(runs / "second", folder, ignore=shutil.ignore_patterns("checkpoints"))
    assert run(["card", "--model", str(folder), "--license", "apache-2.0", "--repo", "me/tiny"]) == 0
    return folder


@pytest.fixture
def folder(model_with_card: Path, tmp_path: Path) -> Path:
    """A run folder whose model has a card."""
    return shutil.copytree(model_with_card, tmp_path / "tiny")


def content(folder: Path) -> dict[str, bytes]:
    return {name: (folder / "model" / name).read_bytes() for name in NAMES}


def asked(hub: HubStore, method: str, part: str) -> int:
    return sum(request[0] == method and part in request[1] for request in hub.requests)


def test_without_yes_everything_is_listed_and_nothing_leaves_the_machine(hub: HubStore, folder: Path, capsys) -> None:
    assert run(["publish", str(folder), "--to", "me/tiny"]) == 0
    lines = capsys.readouterr().out.splitlines()
    listed = [line.split() for line in lines[: len(NAMES)]]
    assert [row[2] for row in listed] == NAMES
    for sha256, size, name in listed:
        data = (folder / "model" / name).read_bytes()
        assert (sha256, int(size.replace(",", ""))) == (hashlib.sha256(data).hexdigest(), len(data))
    total = sum(map(len, content(folder).values()))
    assert lines[len(NAMES)] == f"7 files, {total:,} bytes, licence apache-2.0 → me/tiny, branch main"
    assert "Nothing was uploaded" in lines[-1]
    assert hub.requests == []


def test_with_yes_the_same_bytes_arrive_in_one_commit(hub: HubStore, folder: Path, tmp_path: Path, capsys) -> None:
    assert run(["publish", str(folder), "--to", "me/tiny", "--yes", "--message", "第一版", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert hub.files("me/tiny") == content(folder)
    repository = hub.repositories["me/tiny"]
    assert repository.messages == ["initial commit", "第一版"]
    assert not repository.private
    assert said["uploaded"]["commit"] == repository.branches["main"]
    assert said["uploaded"]["created"] is True
    assert said["uploaded"]["sent"] == [file["path"] for file in said["files"]] == NAMES
    assert said["bytes"] == sum(map(len, content(folder).values()))
    assert asked(hub, "PUT", "/storage/") == 1  # the weights; all else travels in the commit
    # What arrived is a model.
    (tmp_path / "arrived").mkdir()
    for name, data in hub.files("me/tiny").items():
        (tmp_path / "arrived" / name).write_bytes(data)
    assert import_model(tmp_path / "arrived")[1] == import_model(folder / "model")[1]


def test_a_second_time_nothing_is_sent(hub: HubStore, folder: Path, capsys) -> None:
    command = ["publish", str(folder), "--to", "me/tiny", "--yes"]
    assert run(command) == 0
    capsys.readouterr()
    hub.requests.clear()
    assert run(command) == 0
    assert "All of them are there already" in capsys.readouterr().out
    assert asked(hub, "PUT", "") == asked(hub, "POST", "/commit/") == 0
    assert len(hub.repositories["me/tiny"].messages) == 2


@pytest.mark.parametrize(
    ("at", "fault"),
    [
        *[(at, "drop") for at in ("/api/repos/create", "/revision/", "/objects/batch", "/storage/", "/commit/")],
        *[(at, 503) for at in ("/validate-yaml", "/preupload/", "/storage/", "/commit/")],
    ],
)
def test_what_was_cut_off_goes_on(hub: HubStore, folder: Path, capsys, at: str, fault: int | str) -> None:
    command = ["publish", str(folder), "--to", "me/tiny", "--yes"]
    hub.fault = lambda method, path: fault if at in path else None
    assert run(command) == 2
    error = capsys.readouterr().err
    assert "Run the same command again" in error
    assert f"the connection to {hub.endpoint} failed" in error if fault == "drop" else "cannot answer now (503" in error
    assert "Traceback" not in error
    assert "me/tiny" not in hub.repositories or hub.files("me/tiny") == {}  # all or nothing
    arrived = set(hub.large_files)
    hub.fault = lambda method, path: None
    hub.requests.clear()
    assert run(command) == 0
    assert hub.files("me/tiny") == content(folder)
    assert asked(hub, "PUT", "/storage/") == 1 - len(arrived)  # what has arrived is not sent again
    assert arrived == (set(hub.large_files) if at == "/commit/" else set())


def test_a_private_repository_and_a_branch_are_made(hub: HubStore, folder: Path) -> None:
    assert run(["publish", str(folder), "--to", "me/tiny", "--private", "--revision", "v1", "--yes"]) == 0
    assert hub.repositories["me/tiny"].private
    assert hub.files("me/tiny") == {}
    assert hub.files("me/tiny", "v1") == content(folder)


def test_a_repository_that_is_public_does_not_become_private(hub: HubStore, folder: Path, capsys) -> None:
    hub.create("me/tiny")
    assert run(["publish", str(folder), "--to", "me/tiny", "--private", "--yes"]) == 2
    assert "is there already, and is public" in capsys.readouterr().err
    assert hub.files("me/tiny") == {}


def test_what_others_have_put_there_is_replaced_only_with_overwrite(hub: HubStore, folder: Path, capsys) -> None:
    theirs = {"config.json": b"{}", "vocab.txt": content(folder)["vocab.txt"], "figure.png": b"png"}
    hub.create("me/tiny").commit("main", theirs, "theirs")
    command = ["publish", str(folder), "--to", "me/tiny", "--yes"]
    assert run(command) == 2
    error = capsys.readouterr().err
    assert "is there already, with other content in config.json." in error
    assert "--overwrite" in error
    assert hub.files("me/tiny") == theirs
    assert run([*command, "--overwrite"]) == 0
    assert "left alone: figure.png" in capsys.readouterr().err
    assert hub.files("me/tiny") == content(folder) | {"figure.png": b"png"}


def test_a_token_that_may_write_but_not_create_is_enough_for_a_repository_that_is_there(
    hub: HubStore, folder: Path
) -> None:
    hub.create("me/tiny")
    hub.owners = ()
    assert run(["publish", str(folder), "--to", "me/tiny", "--yes"]) == 0
    assert hub.files("me/tiny") == content(folder)


def test_files_that_arrive_otherwise_are_found_out(hub: HubStore, folder: Path, capsys) -> None:
    hub.spoils = True
    assert run(["publish", str(folder), "--to", "me/tiny", "--yes"]) == 2
    assert (
        "what the repository holds now differs from the files here: README.md, config.json" in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("token", "to", "message"),
    [
        (None, "me/tiny", "there is no token to upload with"),
        ("hf_unknown", "me/tiny", "the hub does not accept the token (Invalid credentials"),
        (READ_ONLY_TOKEN, "me/tiny", "the hub does not permit it (You don't have the rights"),
        (TOKEN, "them/tiny", "Accepted: a token that may write into them."),
    ],
)
def test_who_may_not_upload_is_told_so(
    hub: HubStore, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys, token: str | None, to: str, message: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", token or "")
    assert run(["publish", str(folder), "--to", to, "--yes"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert to not in hub.repositories


def test_offline_nothing_is_tried(hub: HubStore, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert run(["publish", str(folder), "--to", "me/tiny"]) == 0
    assert run(["publish", str(folder), "--to", "me/tiny", "--yes"]) == 2
    assert "HF_HUB_OFFLINE is set" in capsys.readouterr().err
    assert hub.requests == []


@pytest.mark.parametrize(
    ("at", "status", "message"),
    [
        ("/commit/", 412, "somebody else has changed the repository meanwhile"),
        ("/commit/", 429, "the hub cannot answer now (429"),
        ("/branch/", 404, "the hub knows no such repository or branch"),
        ("/preupload/", 418, "the hub refuses the files (418"),
    ],
)
def test_what_the_hub_refuses_is_told(hub: HubStore, folder: Path, capsys, at: str, status: int, message: str) -> None:
    hub.fault = lambda method, path: status if at in path else None
    assert run(["publish", str(folder), "--to", "me/tiny", "--revision", "v1", "--yes"]) == 2
    assert message in capsys.readouterr().err


def test_metadata_that_the_hub_refuses_is_told_before_any_file_is_sent(hub: HubStore, folder: Path, capsys) -> None:
    assert run(["card", "--model", str(folder), "--license", "not-a-license"]) == 0
    assert run(["publish", str(folder), "--to", "me/tiny", "--yes"]) == 2
    assert (
        'the hub refuses the files: Invalid metadata in README.md. - "license" must be one of'
        in capsys.readouterr().err
    )
    assert hub.large_files == {}
    assert hub.files("me/tiny") == {}


def test_a_hub_without_xet_storage_says_what_to_set(
    hub: HubStore, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    pytest.importorskip("hf_xet")
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", False)
    assert run(["publish", str(folder), "--to", "me/tiny", "--yes"]) == 2
    assert "HF_HUB_DISABLE_XET=1" in capsys.readouterr().err


def test_the_program_takes_endpoint_and_token_from_the_environment(folder: Path, tmp_path: Path) -> None:
    with hub_store() as store:
        settings = {"HF_ENDPOINT": store.endpoint, "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0"}
        command = [sys.executable, "-m", "weixing", "publish", str(folder), "--to", "me/tiny", "--yes"]
        environment = os.environ | settings | {"HF_HOME": str(tmp_path / "hf")}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        assert "7 files sent, read back and compared: " + store.endpoint in done.stdout
        assert store.files("me/tiny") == content(folder)
