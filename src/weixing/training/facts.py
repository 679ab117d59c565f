"""What must be the same on all ranks of a run, to be compared before it begins. Reads the program's own files."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

import weixing
from weixing.data.shards import ShardSet
from weixing.training.devices import has_bf16

OF_ONE_HOST = ("--data", "--eval-data", "--init")  # places, which may differ; what lies there is compared


def facts_of(
    options: Mapping[str, Any], shards: ShardSet | None, held_out: ShardSet | None, device: torch.device
) -> dict[str, str]:
    """Facts by what they are called.

    Args:
        options: as they were given, by name.
        shards, held_out: the rows, where they are known already.
    """
    facts = {
        "weixing": weixing.__version__,
        "source": _digest_of_source(),
        "torch": torch.__version__,
        "device": device.type,
        # In which type matrices are made orthogonal (`weixing.training.muon`).
        "bf16 in hardware": "yes" if has_bf16(device) else "no",
    }
    for name, rows in (("rows", shards), ("held-out rows", held_out)):
        if rows:
            facts[name] = rows.manifest.sha256[:12]
            facts[f"vocabulary of {name}"] = rows.vocabulary.sha256[:12]
    given = {name: value for name, value in options.items() if value is not None and name not in OF_ONE_HOST}
    return {**facts, **{name: str(value) for name, value in given.items()}}


def _digest_of_source() -> str:
    """Of all code of this package, installed or a checkout."""
    folder, digest = Path(weixing.__file__).parent, hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:12]
