"""Runs under torchrun that lose a process, a host or their patience (`make test-hosts`, 10 minutes; root and iproute2).

Two hosts are two network namespaces with a cable between them: what crosses it can be cut. Both see one disk.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.training.side_by_side import run as run_here
from tests.training.side_by_side import train
from tests.training.test_ranks import STEPS, given, losses

HOSTS = {"weixing-a": "10.77.0.1", "weixing-b": "10.77.0.2"}
TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]
WORKER = str(Path(__file__).with_name("elastic_worker.py"))


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture(scope="module")
def hosts() -> Iterator[None]:
    """Two hosts with a cable between them."""
    if shutil.which("ip") is None or os.geteuid() != 0:
        pytest.skip("needs ip (iproute2) and root, to make network namespaces")
    for host in HOSTS:
        with suppress(subprocess.CalledProcessError):
            ip("netns", "del", host)
    first, second = HOSTS
    for host in HOSTS:
        ip("netns", "add", host)
    ip("link", "add", "cable", "netns", first, "type", "veth", "peer", "name", "cable", "netns", second)
    for host, address in HOSTS.items():
        ip("-n", host, "addr", "add", f"{address}/24", "dev", "cable")
        for device in ("lo", "cable"):
            ip("-n", host, "link", "set", device, "up")
    yield
    for host in HOSTS:
        ip("netns", "del", host)


@pytest.fixture(scope="module")
def undisturbed(tiny_shards, tmp_path_factory) -> list[float]:
    """Losses of a run to which nothing happens."""
    output = tmp_path_factory.mktemp("whole") / "run"
    run_here(2, train, output, **options(tiny_shards))
    return losses(output)


def options(shards: Path) -> dict:
    return given(shards, save_every=20, eval_every=STEPS)


def pretrain(shards: Path, output: Path, *more: str) -> list[str]:
    named = (("--" + name.replace("_", "-"), str(value)) for name, value in options(shards).items())
    return ["pretrain", "--out", str(output), "--device", "cpu", *(part for pair in named for part in pair), *more]


def on_both(
    event: list[str], arguments: list[str], meanwhile: Callable[[], None] = lambda: None, patience: int = 300
) -> list[tuple[int, str]]:
    """Exit code and stderr of torchrun on each host, which waits for the other for `patience` seconds."""
    first, _ = HOSTS.values()
    processes = []
    for host, address in HOSTS.items():
        # torchrun knows its own host by name, which these two do not have.
        settings = f"is_host={int(address == first)},join_timeout={patience},read_timeout={patience}"
        command = [
            *("ip", "netns", "exec", host, *TORCHRUN, "--nnodes", "2", "--nproc-per-node", "1", "--max-restarts", "2"),
            *("--rdzv-backend", "c10d", "--rdzv-endpoint", f"{first}:29400", "--rdzv-id", Path(arguments[2]).name),
            *("--rdzv-conf", settings, "--local-addr", address, WORKER, *event, *arguments),
        ]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "cable"}
        processes.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment))
    said: list[str] = ["", ""]
    readers = [
        threading.Thread(target=lambda n=number, p=process: said.__setitem__(n, p.communicate(timeout=300)[1]))
        for number, process in enumerate(processes)
    ]
    for reader in readers:
        reader.start()
    meanwhile()
    for reader in readers:
        reader.join()
    return [(process.returncode, text) for process, text in zip(processes, said, strict=True)]


def wait_for_step(output: Path, step: int) -> None:
    while not (output / "metrics.jsonl").is_file() or f'"step": {step},' not in (output / "metrics.jsonl").read_text():
        time.sleep(0.05)


def test_a_process_that_was_killed_is_started_anew_and_the_run_goes_on(tiny_shards, tmp_path, undisturbed):
    command = [*TORCHRUN, "--standalone", "--nproc-per-node", "2", "--max-restarts", "1", WORKER, "die", "1", "33"]
    done = subprocess.run(
        [*command, *pretrain(tiny_shards, tmp_path / "killed")],
        capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "resuming from" in done.stderr
    assert losses(tmp_path / "killed") == pytest.approx(undisturbed, rel=1e-6)


def test_a_process_killed_on_one_of_two_hosts(hosts, tiny_shards, tmp_path, undisturbed):
    done = on_both(["die", "1", "33"], pretrain(tiny_shards, tmp_path / "killed"))
    assert [code for code, _ in done] == [0, 0], done
    assert "resuming from" in done[0][1] + done[1][1]
    assert losses(tmp_path / "killed") == pytest.approx(undisturbed, rel=1e-6)
    assert json.loads((tmp_path / "killed" / "run.json").read_text())["resumed"]


def test_a_slow_process_on_one_of_two_hosts(hosts, tiny_shards, tmp_path, undisturbed):
    done = on_both(["slow", "1", "5"], pretrain(tiny_shards, tmp_path / "slow", "--stall-timeout", "20"))
    assert [code for code, _ in done] == [0, 0], done
    assert losses(tmp_path / "slow") == pytest.approx(undisturbed, rel=1e-6)


def cut_off(output: Path, seconds: float) -> None:
    """Cut the cable in the middle of a run, for some time."""
    wait_for_step(output, 30)
    ip("-n", "weixing-b", "link", "set", "cable", "down")
    time.sleep(seconds)
    ip("-n", "weixing-b", "link", "set", "cable", "up")


@pytest.mark.parametrize("stall_timeout", [600, 20])
def test_a_host_cut_off_for_a_minute(hosts, tiny_shards, tmp_path, undisturbed, stall_timeout):
    # The ranks wait; or they end, say why, and torchrun starts them anew from the last checkpoint.
    output = tmp_path / f"cut-{stall_timeout}"
    arguments = pretrain(tiny_shards, output, "--stall-timeout", str(stall_timeout))
    done = on_both(["none", "0", "0"], arguments, lambda: cut_off(output, 60))
    assert [code for code, _ in done] == [0, 0], done
    assert "No sign of life from rank 1" in done[0][1] + done[1][1]
    assert bool(json.loads((output / "run.json").read_text()).get("resumed")) == (stall_timeout == 20)
    assert losses(output) == pytest.approx(undisturbed, rel=1e-6)


def test_a_host_cut_off_for_good(hosts, tiny_shards, tmp_path):
    output = tmp_path / "cut"
    arguments = pretrain(tiny_shards, output, "--stall-timeout", "20")
    done = on_both(["none", "0", "0"], arguments, lambda: cut_off(output, 120), patience=30)
    for code, said in done:
        assert code == 1
        assert "no rank has moved for 20 seconds. No sign of life from rank" in said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_torchrun_saves_and_ends_within_ten_seconds(tiny_shards, tmp_path, number):
    output = tmp_path / "run"
    command = [*TORCHRUN, "--standalone", "--nproc-per-node", "2", WORKER, "slow", "1", "5"]
    process = subprocess.Popen(
        [*command, *pretrain(tiny_shards, output)],
        stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    wait_for_step(output, 10)
    process.send_signal(number)
    began = time.monotonic()
    _, said = process.communicate(timeout=60)
    assert time.monotonic() - began < 10
    assert process.returncode == 1  # torchrun's own
    stopped = int(said.split("stopped after step ")[1].split(";")[0])
    assert (output / "checkpoints" / f"step-{stopped:07d}").is_dir()
