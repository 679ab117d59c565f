"""Fixtures that several rooms' tests share: a tiny vocabulary, a tiny corpus, shards, and where the shared data is."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import settings

from weixing.data.prepare import prepare
from weixing.text.vocabulary import Vocabulary

settings.register_profile("untimed", deadline=None)  # how long an example takes says more of the machine
settings.load_profile("untimed")

HANZI = "".join(chr(0x4E00 + 37 * number) for number in range(300))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Tests run side by side; each computes with one thread, and so do fixtures of a module, which come first.

    Not a fixture: one of a function is made after those of a module, whose runs would have other sums.
    """
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_vocabulary() -> Vocabulary:
    """404 entries: specials at BERT's ids, and 300 Hanzi."""
    tokens = [f"[unused{number}]" for number in range(104)]
    tokens[0], tokens[100:104] = "[PAD]", ["[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    return Vocabulary([*tokens, *HANZI])


@pytest.fixture(scope="session")
def tiny_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 documents of 1–90 characters each, a document a line."""
    random = np.random.default_rng(1)
    path = tmp_path_factory.mktemp("corpus") / "corpus.txt"
    documents = ["".join(random.choice(list(HANZI), random.integers(1, 91))) for _ in range(200)]
    path.write_text("\n".join(documents) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def tiny_shards(tmp_path_factory: pytest.TempPathFactory, tiny_corpus: Path, tiny_vocabulary: Vocabulary) -> Path:
    """The tiny corpus in packed rows of 32."""
    folder = tmp_path_factory.mktemp("shards") / "packed32"
    prepare([tiny_corpus], folder, vocabulary=tiny_vocabulary, sequence_length=32)
    return folder


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of golden files and data that lies beside a checkout of the developers; skipped without it."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip("needs ../shared, which this machine does not have")
    return folder


@pytest.fixture
def ray_cluster() -> Iterator[Any]:
    """A Ray cluster of two machines of one core each; skipped where Ray is not installed."""
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # Ray's word for: keep to the loopback address
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    machine = {"num_cpus": 1, "object_store_memory": 80_000_000}
    cluster = cluster_utils.Cluster(True, head_node_args=machine)
    cluster.add_node(**machine)
    cluster.wait_for_nodes()
    yield cluster
    cluster.shutdown()
