"""`make test-keras`: keras-hub opens what `weixing convert --to keras` wrote, and computes the same.

Runs in its own environment (requirements-keras.txt), once for each back end, which KERAS_BACKEND names. keras-hub's
BERT approximates GELU by tanh, whatever config.json says, so it is compared with PyTorch doing the same.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "HF_HUB_OFFLINE": "1"}
import keras
import keras_hub
import numpy as np

AGAINST = f"itself, in keras-hub on {keras.backend.backend()}, both with GELU by tanh"
TOLERANCE = 2e-5  # of the largest number of an output


def compare(what: str, theirs: Any, ours: np.ndarray) -> None:
    difference, largest = np.abs(theirs - ours).max(), np.abs(ours).max()
    print(f"{keras.backend.backend()}: {what}: largest difference {difference:.2g} of {largest:.2g}")
    assert difference <= TOLERANCE * max(1, largest), what
    if file := os.environ.get("FORMATS_MEASURED"):
        note = {
            "format": "Keras",
            "direction": "out",
            "against": AGAINST,
        }
        with open(file, "a", encoding="utf-8") as stream:
            stream.write(json.dumps(note | {"largest_difference": float(difference)}) + "\n")


def main(folder: Path) -> None:
    assert keras.backend.backend() == os.environ["KERAS_BACKEND"]
    expected, words = np.load(folder / "expected_gelu_tanh.npz"), json.loads((folder / "texts.json").read_text())
    tokens = expected["attention"]
    inputs = {
        "token_ids": expected["ids"],
        "segment_ids": expected["token_types"],
        "padding_mask": tokens.astype(int),
    }
    for name in ("masked_lm", "classifier"):
        backbone = keras_hub.models.BertBackbone.from_preset(str(folder / name))
        outputs = {key: np.asarray(value) for key, value in backbone.predict(inputs, verbose=0).items()}
        hidden, pooled = outputs["sequence_output"], outputs["pooled_output"]
        its_hidden = expected[f"{name}_hidden"]
        # Of a masked language model the pooler is the identity.
        its_pooled = expected["classifier_pooler"] if name == "classifier" else np.tanh(its_hidden[:, 0])
        compare(f"BertBackbone of the {name}, hidden states", hidden[tokens], its_hidden[tokens])
        compare(f"BertBackbone of the {name}, pooler", pooled, its_pooled)
        exact = np.load(folder / "expected_gelu_none.npz")[f"{name}_hidden"]
        print(f"(with the exact GELU of the original: {np.abs(hidden - exact)[tokens].max():.2g})")

        check_tokenizer(folder / name, words)
        print(f"{keras.backend.backend()}: BertTokenizer of the {name}: the ids that it should give")


def check_tokenizer(folder: Path, words: dict[str, Any]) -> None:
    """keras-hub lower-cases by folding, which also makes ，！（ and other full-width forms ,!( in the token ids."""
    tokenizer = keras_hub.models.BertTokenizer.from_preset(str(folder), special_tokens_in_strings=True)
    for text, ids, folded in zip(words["texts"], words["ids"], words["ids_of_folded_texts"], strict=True):
        assert np.asarray(tokenizer(text)).tolist() == folded, text
        # The way around: lower-case the text oneself.
        exact = keras_hub.models.BertTokenizer(str(folder / "vocab.txt"), lowercase=False, strip_accents=True)
        assert np.asarray(exact(text.lower())).tolist() == ids, text
    specials = {f"[{name.upper()}]": getattr(tokenizer, f"{name}_token_id") for name in ("cls", "sep", "pad", "mask")}
    assert np.asarray(tokenizer("".join(specials))).tolist() == list(specials.values())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
