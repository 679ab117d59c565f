"""`make test-tf`: transformers' TensorFlow models open what `weixing convert --to tf` wrote, and compute the same.

Runs in its own environment (requirements-tf.txt), without this project and without PyTorch.
"""

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

os.environ |= {"TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "3", "HF_HUB_OFFLINE": "1"}
import numpy as np
import transformers
from transformers import BertTokenizer

TOLERANCE = 2e-5  # of the largest number of an output


def loaded(name: str, folder: Path, unused: set[str]) -> Any:
    """The model, all of whose weights were found; `unused` are the layers of the file that it has no place for."""
    model, told = getattr(transformers, name).from_pretrained(folder, output_loading_info=True)
    assert not told["missing_keys"], (name, told)
    assert not told["mismatched_keys"], (name, told)
    assert {key.split("/")[0] for key in told["unexpected_keys"]} <= unused, (name, told)
    return model


def compare(what: str, theirs: Any, ours: np.ndarray, where: np.ndarray | None = None) -> None:
    theirs = np.asarray(theirs)
    assert theirs.shape == ours.shape, (what, theirs.shape, ours.shape)
    if where is not None:
        theirs, ours = theirs[where], ours[where]
    difference, largest = np.abs(theirs - ours).max(), np.abs(ours).max()
    print(f"{what}: largest difference {difference:.2g} of {largest:.2g}")
    assert difference <= TOLERANCE * max(1, largest), what
    if file := os.environ.get("FORMATS_MEASURED"):
        note = {"format": "TensorFlow (h5)", "direction": "out", "against": "itself, in TensorFlow"}
        with open(file, "a", encoding="utf-8") as stream:
            stream.write(json.dumps(note | {"largest_difference": float(difference)}) + "\n")


def main(folder: Path) -> None:
    expected, words = np.load(folder / "expected_gelu_none.npz"), json.loads((folder / "texts.json").read_text())
    tokens = expected["attention"]
    inputs = {
        "input_ids": expected["ids"],
        "token_type_ids": expected["token_types"],
        "attention_mask": tokens.astype(int),
    }
    masked_lm, classifier = folder / "masked_lm", folder / "classifier"

    for each in (masked_lm, classifier):
        encoded = BertTokenizer.from_pretrained(each)(words["texts"], padding=True, return_tensors="np")
        assert np.array_equal(encoded["input_ids"], expected["ids"]), each
    print(f"BertTokenizer: the same ids for {len(words['texts'])} texts")

    model = loaded("TFBertModel", masked_lm, {"mlm___cls"})
    outputs = model(inputs)
    compare("TFBertModel, hidden states", outputs.last_hidden_state, expected["masked_lm_hidden"], tokens)
    compare("TFBertModel, pooler of identity", outputs.pooler_output, np.tanh(expected["masked_lm_hidden"][:, 0]))
    model = loaded("TFBertForMaskedLM", masked_lm, {"bert"})  # bert/pooler
    compare("TFBertForMaskedLM, logits", model(inputs).logits, expected["masked_lm_head"], tokens)

    model = loaded("TFBertModel", classifier, {"classifier"})
    compare("TFBertModel of a classifier, pooler", model(inputs).pooler_output, expected["classifier_pooler"])
    model = loaded("TFBertForSequenceClassification", classifier, set())
    compare("TFBertForSequenceClassification, logits", model(inputs).logits, expected["classifier_classifier"])
    assert [model.config.id2label[number] for number in range(len(words["labels"]))] == words["labels"]
    check_card(masked_lm)


def check_card(folder: Path) -> None:
    """The code for TensorFlow on a model's card runs as it stands, in its folder."""
    blocks = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    (code,) = (block for block in blocks if "TFBertModel" in block)
    names: dict[str, Any] = {}
    os.chdir(folder)
    exec(code, names)
    text = re.search(r'tokenizer\("(.*)", return', code)[1]
    expected = loaded("TFBertModel", Path.cwd(), {"mlm___cls"})(names["tokenizer"](text, return_tensors="tf"))
    compare("TFBertModel, as the card shows it", names["hidden"], np.asarray(expected.last_hidden_state))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
