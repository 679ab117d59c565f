"""`prepare --ray` on a Ray cluster of two machines that loses processes and one of the machines (`make test-ray`)."""

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from weixing.cli.main import run
from weixing.text import corpus

OPTIONS = ["--seq-length", "64", "--deduplicate", "near"]  # which takes its time
TASK = b"ray::_tokenize"  # the name of a process that runs one


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """2,500 documents in 75 blocks, one in ten of them a second time."""
    monkeypatch.setattr(corpus, "BLOCK_BYTES", 30_000)
    random.seed(3)
    characters = [chr(point) for point in range(0x4E00, 0x5200)]
    texts = ["".join(random.choices(characters, k=300)) for _ in range(2_300)]
    texts += random.sample(texts, 200)
    (tmp_path / "corpus.txt").write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    return tmp_path / "corpus.txt"


@pytest.fixture
def whole(source: Path, tmp_path: Path) -> dict[str, bytes]:
    """What one worker makes."""
    assert run(["prepare", str(source), "--out", str(tmp_path / "whole"), *OPTIONS]) == 0
    return content(tmp_path / "whole")


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def prepare_while(disturb: Callable[[], None], cluster: Any, source: Path, out: Path) -> None:
    """Prepare on the cluster, and once there are rows, `disturb`."""
    rows = out.with_name(f".{out.name}.partial") / "rows-00000.bin"
    done: list[bool] = []

    def watch() -> None:
        while not rows.exists() or not rows.stat().st_size:
            time.sleep(0.01)
        disturb()
        done.append(rows.exists())  # it is not finished

    thread = threading.Thread(target=watch)
    thread.start()
    assert run(["prepare", str(source), "--out", str(out), *OPTIONS, "--ray", cluster.address]) == 0
    thread.join()
    assert done == [True]


def tasks_of(cluster: Any) -> list[int]:
    """The processes of the cluster that tokenize just now."""
    raylets = {node.all_processes["raylet"][0].process.pid for node in cluster.list_all_nodes()}
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent in raylets and (folder / "cmdline").read_bytes().startswith(TASK):
                found.append(int(folder.name))
        except OSError:  # it has ended
            pass
    return found


def test_a_process_killed_in_the_midst_changes_no_byte(ray_cluster, source, whole, tmp_path: Path) -> None:
    def kill_one() -> None:
        while not (found := tasks_of(ray_cluster)):
            time.sleep(0.001)
        os.kill(found[0], signal.SIGKILL)

    prepare_while(kill_one, ray_cluster, source, tmp_path / "out")
    assert content(tmp_path / "out") == whole


def test_a_machine_lost_in_the_midst_changes_no_byte(ray_cluster, source, whole, tmp_path: Path) -> None:
    def lose_one() -> None:
        (machine,) = (node for node in ray_cluster.list_all_nodes() if node is not ray_cluster.head_node)
        ray_cluster.remove_node(machine, allow_graceful=False)

    prepare_while(lose_one, ray_cluster, source, tmp_path / "out")
    assert content(tmp_path / "out") == whole


def test_bytes_that_are_not_utf8_are_named(ray_cluster, source, tmp_path: Path, capsys) -> None:
    with open(source, "ab") as stream:
        stream.write(b"ab\xff\n")
    size = source.stat().st_size
    assert run(["prepare", str(source), "--out", str(tmp_path / "out"), "--ray", ray_cluster.address]) == 2
    assert f"corpus.txt: byte {size - 2:,} of the text (0xff) is not UTF-8" in capsys.readouterr().err
    assert sorted(os.listdir(tmp_path)) == ["corpus.txt"]


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nowhere"])
def test_without_a_cluster_there_is_one_message_and_nothing_is_written(source, tmp_path: Path, capsys, address) -> None:
    pytest.importorskip("ray")
    assert run(["prepare", str(source), "--out", str(tmp_path / "out"), "--ray", address]) == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith(f"weixing: --ray: there is no cluster at {address!r}: ")
    assert sorted(os.listdir(tmp_path)) == ["corpus.txt"]


def test_lost_too_often_it_is_one_message_and_goes_on_here(
    ray_cluster, source, whole, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.setattr("weixing.data.ray_blocks.TRIES", 1)
    monkeypatch.setattr("weixing.data.record.SAVE_SECONDS", 0)
    out, partial = tmp_path / "out", tmp_path / ".out.partial"

    def kill_one() -> None:
        while not (partial / "progress.json").exists() or not (found := tasks_of(ray_cluster)):
            time.sleep(0.001)
        os.kill(found[0], signal.SIGKILL)

    thread = threading.Thread(target=kill_one)
    thread.start()
    assert run(["prepare", str(source), "--out", str(out), *OPTIONS, "--ray", ray_cluster.address]) == 2
    thread.join()
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith("weixing: --ray: a block of documents was lost 1 times on the cluster: ")
    assert run(["prepare", str(source), "--out", str(out), *OPTIONS, "--resume"]) == 0
    assert content(out) == whole
