"""`prepare --ray`, with something in Ray's place: order, bounds and errors. On Ray itself: check_ray_prepare.py."""

import pickle
import random
import sys
from collections.abc import Callable
from contextlib import contextmanager
from itertools import chain, repeat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from weixing.cli.main import run
from weixing.data import ray_blocks
from weixing.text import corpus


class RayError(Exception):
    """As Ray has it."""


class RayTaskError(RayError):
    """As Ray has it."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(f"ray::task()\nTraceback\n{cause}")
        self.cause = cause


class Cluster:
    """Keeps what it is given as other processes would get it, and runs a task, some other first, when it is asked for.

    Attributes:
        most: of tasks that were in flight at any time.
        put_count: how often something was put into the store.
        options: of tasks.
        lost: the error of tasks, if they are lost.
    """

    exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)

    def __init__(self, cores: int) -> None:
        self.cores, self.most, self.put_count, self.options = cores, 0, 0, dict[str, Any]()
        self.lost: Exception | None = None
        self._values = dict[str, Any]()
        self._waiting = dict[str, Callable[[], Any]]()
        self._number = 0

    def put(self, value: Any) -> str:
        self.put_count += 1
        self._values["put"] = pickle.loads(pickle.dumps(value))
        return "put"

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": float(self.cores)}

    def remote(self, **options: Any) -> Callable[..., Any]:
        self.options = options

        def task_of(function: Callable[..., Any]) -> Any:
            def submit(*arguments: Any) -> str:
                self._number += 1
                name = f"task {self._number}"
                sent = pickle.dumps(arguments)
                self._waiting[name] = lambda: pickle.loads(pickle.dumps(function(*pickle.loads(sent))))
                self.most = max(self.most, len(self._waiting) + len(self._values) - 1)
                return name

            return SimpleNamespace(remote=submit)

        return task_of

    def get(self, name: str) -> Any:
        if name == "put":
            return self._values[name]
        if self.lost:
            raise self.lost
        while name in self._waiting:
            other = random.choice(sorted(self._waiting))
            self._values[other] = self._waiting.pop(other)()
        value = self._values.pop(name)
        if not isinstance(value, Exception) and value.values.size:
            value.values.flags.writeable = value.offsets.flags.writeable = False  # as in Ray's store
        return value


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    cluster = Cluster(3)

    @contextmanager
    def connection(address: str):
        assert address == "auto"
        yield cluster

    ray_blocks._tokenizer.cache_clear()
    monkeypatch.setitem(sys.modules, "ray", cluster)
    monkeypatch.setattr("weixing.clusters.connection", connection)
    monkeypatch.setattr(corpus, "BLOCK_BYTES", 500)
    return cluster


@pytest.fixture
def source(tmp_path: Path) -> Path:
    random.seed(4)
    lines = ["".join(random.choices("天地玄黄宇宙洪荒日月盈昃", k=random.randint(5, 60))) + "\n" for _ in range(200)]
    (tmp_path / "corpus.txt").write_text("".join([*lines, *lines[:30]]), encoding="utf-8")
    return tmp_path / "corpus.txt"


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("options", [[], ["--deduplicate", "exact", "--exclude", "dev.tsv"], ["--layout", "uer"]])
def test_shards_are_those_of_one_worker_in_bounded_memory(
    cluster, source, tmp_path, monkeypatch, options: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("dev.tsv").write_text("天地玄黄宇宙洪荒日月盈昃天\n", encoding="utf-8")
    command = ["prepare", str(source), "--seq-length", "32", *options]
    assert run([*command, "--out", "one"]) == 0
    assert run([*command, "--out", "many", "--ray", "auto"]) == 0
    assert content(Path("many")) == content(Path("one"))
    assert cluster.put_count == 1
    assert cluster.options == {"num_cpus": 1, "max_retries": 4}
    assert cluster.most <= 3 + ray_blocks.BLOCKS_AHEAD + 1


def test_tables_are_tokenized_there_too(cluster, tmp_path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.table({"text": ["天地玄黄", "", "宇宙洪荒"] * 300}), tmp_path / "corpus.parquet")
    for out, more in (("one", []), ("many", ["--ray", "auto"])):
        assert run(["prepare", str(tmp_path / "corpus.parquet"), "--out", str(tmp_path / out), *more]) == 0
    assert content(tmp_path / "many") == content(tmp_path / "one")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            RayError("The node died.\nmore"),
            "a block of documents was lost 5 times on the cluster: The node died. See ray",
        ),
        (RayTaskError(ModuleNotFoundError("No module named 'weixing'")), "No module named 'weixing'"),
    ],
)
def test_what_the_cluster_cannot_do_is_one_message(cluster, source, tmp_path, capsys, error, message) -> None:
    cluster.lost = error
    assert run(["prepare", str(source), "--out", str(tmp_path / "out"), "--ray", "auto"]) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("weixing: --ray: ")
    assert message in errors
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus.txt"]


def test_what_is_wrong_with_the_corpus_is_said_as_here(cluster, source, tmp_path, capsys) -> None:
    with open(source, "ab") as stream:
        stream.write(b"ab\xff\n")
    assert run(["prepare", str(source), "--out", str(tmp_path / "out"), "--ray", "auto"]) == 2
    assert f"byte {source.stat().st_size - 2:,} of the text (0xff) is not UTF-8" in capsys.readouterr().err


def test_a_machine_with_another_version_is_named(cluster, source, tmp_path, capsys, monkeypatch) -> None:
    versions = chain(["0.1.0"], repeat("0.0.9"))
    monkeypatch.setattr(ray_blocks, "version", lambda name: next(versions))
    assert run(["prepare", str(source), "--out", str(tmp_path / "out"), "--ray", "auto"]) == 2
    errors = capsys.readouterr().err
    assert "weixing 0.0.9 on " in errors
    assert "Accepted: 0.1.0" in errors


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--workers", "2"], "--ray with --workers"),
        (["--from-uer", "--vocab", "vocab.txt"], "--ray with --from-uer"),
    ],
)
def test_options_that_do_not_go_together(tmp_path, capsys, options: list[str], message: str) -> None:
    assert run(["prepare", "corpus.txt", "--out", str(tmp_path / "out"), "--ray", "auto", *options]) == 2
    assert f"weixing: {message}" in capsys.readouterr().err


def test_without_ray_it_says_what_to_install(source, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert run(["prepare", str(source), "--out", str(tmp_path / "out"), "--ray", "auto"]) == 2
    assert "pip install 'weixing[ray]'" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus.txt"]
