"""Imported by the process that others are forked from: what a first run loads, they have already."""

import os
import tempfile
from pathlib import Path

import torch

from tests.conftest import HANZI
from tests.training.side_by_side import train
from weixing.data.prepare import prepare
from weixing.progress import hush
from weixing.text.vocabulary import Vocabulary

os.environ.pop("WORLD_SIZE", None)
torch.set_num_threads(1)  # no thread may be there when others are forked
hush()
with tempfile.TemporaryDirectory() as folder:
    _tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *HANZI]
    Path(folder, "corpus.txt").write_text(HANZI + "\n", encoding="utf-8")
    prepare([Path(folder, "corpus.txt")], Path(folder, "rows"), vocabulary=Vocabulary(_tokens), sequence_length=32)
    for _recipe in ("weixing", "uer"):
        train(Path(folder, _recipe), data=Path(folder, "rows"), model="1/64", recipe=_recipe, steps=2, batch_size=2,
              precision="float32", eval_data=Path(folder, "rows"))  # fmt: skip
