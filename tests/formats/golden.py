"""Golden files of UER-py (tests/golden/README.md says how they were made), and what UER-py answers with them."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

GOLDEN = Path(__file__).parents[1] / "golden" / "uer"
VOCABULARY = GOLDEN / "vocab.txt"
# Each checkpoint, its configuration, and which of its outputs UER-py's own are known under which name.
CHECKPOINTS = {
    "mlm.bin-200": ("mlm_config.json", {"hidden": "mlm_hidden", "head": "mlm_logits"}),
    "bert.bin-200": (
        "bert_config.json",
        {"hidden": "bert_hidden", "head": "bert_logits", "pooler": "bert_pooled", "next_sentence": "bert_nsp"},
    ),
    "classifier.bin": ("mlm_config.json", {"classifier": "classifier_logits"}),
}


def question() -> tuple[Tensor, Tensor, Tensor]:
    """Ids, token types and attention that UER-py was asked."""
    with np.load(GOLDEN / "expected.npz") as known:
        segments = torch.from_numpy(known["segments"])
        return torch.from_numpy(known["input_ids"]), (segments - 1).clamp(min=0), segments > 0


def distances(outputs: dict[str, Tensor], checkpoint: str) -> dict[str, float]:
    """The largest difference of each output from UER-py's."""
    found = {}
    with np.load(GOLDEN / "expected.npz") as known:
        places = torch.from_numpy(known["places"])
        for name, its_name in CHECKPOINTS[checkpoint][1].items():
            output = outputs[name]
            if output.dim() == 3:
                output = output[torch.arange(len(output))[:, None], places]
            found[name] = float((output - torch.from_numpy(known[its_name])).abs().max())
    return found
