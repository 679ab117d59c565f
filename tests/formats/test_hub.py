"""Models by hub id: downloaded once by the hub's own protocol, in any form of weights and revision, then offline."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch

from tests.formats.hub_server import hub_server
from weixing.formats.huggingface import export_masked_lm
from weixing.hub import is_hub_id
from weixing.model.heads import MaskedLanguageModel
from weixing.text.vocabulary import Vocabulary

PROGRAM = """
import json, sys
from weixing.formats.naming import load_masked_lm
from weixing.errors import UserError
for name in sys.argv[1:]:
    try:
        model, vocabulary = load_masked_lm(name)
        print(json.dumps([round(float(model.head.bias.sum()), 4), len(vocabulary)]))
    except UserError as error:
        print(json.dumps(str(error)))
"""


def load(folder: Path, endpoint: str, *names: str, offline: bool = False) -> list[object]:
    """What a process of its own, with a cache in `folder`, finds under these names; asked-for.json: what it asked."""
    environment = os.environ | {
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(folder / "hf"),
        "HF_HUB_OFFLINE": str(int(offline)),
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *names],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    asked_for = [name for name in names if f"there is no folder {name} here; asking the hub for it" in done.stderr]
    (folder / "asked-for.json").write_text(json.dumps(asked_for))
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_model_is_downloaded_by_revision_once_and_then_used_offline(
    tmp_path: Path, model: MaskedLanguageModel, vocabulary: Vocabulary
) -> None:
    sums = {}
    for number, name in enumerate(("main", "v1", "sharded", "pickle")):
        with torch.no_grad():
            model.head.bias.fill_(number + 1)
        export_masked_lm(model, vocabulary, tmp_path / name)
        sums[name] = [25.0 * (number + 1), 25]
    _into_shards(tmp_path / "sharded")
    tensors = safetensors.torch.load_file(tmp_path / "pickle" / "model.safetensors")
    torch.save(tensors, tmp_path / "pickle" / "pytorch_model.bin")
    (tmp_path / "pickle" / "model.safetensors").unlink()

    names = ["some/model", "some/model@v1", "some/model@sharded", "some/model@pickle"]
    with hub_server({name: tmp_path / name for name in sums}) as (endpoint, asked):
        assert load(tmp_path, endpoint, *names) == list(sums.values())
        assert json.loads((tmp_path / "asked-for.json").read_text()) == names
        before = len(asked)
        assert before
        wrong = load(tmp_path, endpoint, *names, "some/model@v2")
        assert wrong[:4] == list(sums.values())
        assert "cannot get config.json" in str(wrong[4])
        assert json.loads((tmp_path / "asked-for.json").read_text()) == ["some/model@v2"]
        again = [path for path in asked[before:] if "/resolve/" in path]
        assert again
        assert all("/v2/" in path for path in again)
    # The server is gone.
    assert load(tmp_path, endpoint, *names, offline=True) == list(sums.values())
    (missing,) = load(tmp_path, endpoint, "some/other", offline=True)
    assert "HF_HUB_OFFLINE is set" in str(missing)


def _into_shards(folder: Path) -> None:
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    files = {name: f"model-0000{number % 2 + 1}-of-00002.safetensors" for number, name in enumerate(tensors)}
    for file in set(files.values()):
        shard = {name: tensor for name, tensor in tensors.items() if files[name] == file}
        safetensors.torch.save_file(shard, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))
    (folder / "model.safetensors").unlink()


@pytest.mark.parametrize(
    ("name", "is_id"),
    [
        ("uer/chinese_roberta_L-8_H-512", True),
        ("uer/chinese_roberta_L-8_H-512@main", True),
        ("some/model@refs/pr/3", True),
        ("some/model@", False),
        ("8/512", False),
        ("model@v1", False),
    ],
)
def test_what_is_a_hub_id(name: str, is_id: bool) -> None:
    assert is_hub_id(name) == is_id
