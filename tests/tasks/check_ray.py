"""A grid on a Ray cluster of two machines, one of which is lost in the middle (`make test-ray`)."""

import json
import threading
import time
from pathlib import Path

import pytest

from tests.tasks.grids import content
from weixing.cli.main import run


def test_a_grid_on_two_machines_one_of_which_is_lost_leaves_the_same(
    ray_cluster, grid_options, whole_grid: Path, tmp_path: Path, capsys
) -> None:
    out, lost = tmp_path / "out", []

    def lose_one() -> None:
        while not (out / "results.jsonl").exists():
            time.sleep(0.02)
        (machine,) = (node for node in ray_cluster.list_all_nodes() if node is not ray_cluster.head_node)
        ray_cluster.remove_node(machine, allow_graceful=False)
        lost.append(machine)

    watch = threading.Thread(target=lose_one)
    watch.start()
    assert run(["finetune", "--out", str(out), *grid_options, "--ray", ray_cluster.address, "--json"]) == 0
    watch.join()
    assert len(lost) == 1
    assert json.loads(capsys.readouterr().out)["cells"] == 8
    assert content(out) == content(whole_grid)


def test_a_cell_that_fails_there_is_named_and_others_are_kept(
    ray_cluster, grid_options, tmp_path: Path, capsys
) -> None:
    out = tmp_path / "out"
    options = [*grid_options, "--epochs", "1", "--batch-sizes", "4", "--learning-rates", "1e38,1e-3", "--seeds", "7"]
    assert run(["finetune", "--out", str(out), *options, "--ray", ray_cluster.address]) == 2
    streams = capsys.readouterr()
    assert "the training loss is nan" in streams.err
    assert len((out / "results.jsonl").read_text().splitlines()) == 1


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nowhere", "nowhere:many"])
def test_without_a_cluster_there_is_one_message_and_nothing_is_written(
    grid_options, tmp_path: Path, capsys, address: str
) -> None:
    assert run(["finetune", "--out", str(tmp_path / "out"), *grid_options, "--ray", address]) == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith(f"weixing: --ray: there is no cluster at {address!r}: ")
    assert "ray start --head" in message
    assert not (tmp_path / "out").exists()
