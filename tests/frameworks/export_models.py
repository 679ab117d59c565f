"""Makes models and converts them, for `make test-tf` and `make test-keras`: `export_models.py tf FOLDER`.

FOLDER/masked_lm and FOLDER/classifier are what `weixing convert` writes, the first with its card; FOLDER/expected_*.npz
is what PyTorch says.
"""

import json
import sys
import unicodedata
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch

from weixing.formats.bert import bert_of
from weixing.formats.convert import convert
from weixing.formats.huggingface import export_classifier, export_masked_lm
from weixing.model.encoder import Encoder
from weixing.model.heads import Classifier, MaskedLanguageModel
from weixing.model.initialisation import initialise
from weixing.reporting.card import card, write_card
from weixing.reporting.card_facts import gather
from weixing.text.tokenizer import Tokenizer
from weixing.text.vocabulary import load_vocabulary
from weixing.zoo import Shape

TEXTS = [
    "中国的首都是北京。",
    "我昨天在Shanghai买了2本书，花了35.5元！",
    "天气不错",
    "《红楼梦》的作者是谁？曹雪芹（约1715年—1763年）。",
]
LABELS = ["体育", "财经", "娱乐"]


def main(to: str, folder: Path) -> None:
    vocabulary = load_vocabulary("builtin")
    shape = Shape(2, 128, len(vocabulary), positions=64)
    masked_lm, classifier = MaskedLanguageModel(shape), Classifier(Encoder(shape), len(LABELS))
    for model in (masked_lm, classifier):
        initialise(model, "uer")
        with torch.no_grad():  # so that outputs differ from token to token
            model.encoder.embeddings.token.weight *= 20
            for parameter in model.parameters():
                parameter += 0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(7))
    export_masked_lm(masked_lm, vocabulary, folder / "hf_masked_lm")
    export_classifier(classifier, vocabulary, LABELS, folder / "hf_classifier")
    for name in ("masked_lm", "classifier"):
        convert(str(folder / f"hf_{name}"), folder / name, to)
    facts = gather(str(folder / "masked_lm"))
    write_card(card(facts, ("en",)), folder / "masked_lm" / "README.md", facts)

    tokenizer = Tokenizer(vocabulary)
    rows = [[vocabulary.cls_id, *tokenizer.encode(text), vocabulary.sep_id] for text in TEXTS]
    ids = torch.full((len(rows), max(map(len, rows))), vocabulary.pad_id)
    for row, tokens in enumerate(rows):
        ids[row, : len(tokens)] = torch.tensor(tokens)
    attention = ids != vocabulary.pad_id
    token_types = (torch.arange(ids.shape[1]) > 5).long() * attention
    inputs = {"ids": ids, "token_types": token_types, "attention": attention}
    exact_gelu = torch.nn.functional.gelu
    for gelu in ("none", "tanh"):  # keras-hub's BERT has the approximation by tanh, whatever config.json says
        with torch.inference_mode(), patch.object(torch.nn.functional, "gelu", partial(exact_gelu, approximate=gelu)):
            outputs = {
                f"{name}_{output}": values
                for name, model in (("masked_lm", masked_lm), ("classifier", classifier))
                for output, values in bert_of(model).eval()(ids, token_types, attention).items()
            }
        arrays = {name: tensor.numpy() for name, tensor in (inputs | outputs).items()}
        np.savez(folder / f"expected_gelu_{gelu}.npz", **arrays)
    folded = [tokenizer.encode(unicodedata.normalize("NFKC", text).casefold()) for text in TEXTS]
    words = {"texts": TEXTS, "labels": LABELS, "ids": [row[1:-1] for row in rows], "ids_of_folded_texts": folded}
    (folder / "texts.json").write_text(json.dumps(words))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
