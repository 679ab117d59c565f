"""Vectors of texts: ``features weixing|transformers MODEL TEXTS OUT [POOLING PRECISION]``; writes them as OUT.npy.

Texts in, vectors out is what is timed, tokenization included; loading is not. `transformers` takes 32 texts at a time,
in their order, padded to the longest of them, and writes both poolings (OUT.mean.npy, OUT.cls.npy).
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

BATCH_SIZE, MAX_LENGTH = 32, 128
WARM_UP = 64  # texts

side, folder, source, out, *options = sys.argv[1:]
texts = Path(source).read_text(encoding="utf-8").splitlines()
if side == "weixing":
    from weixing.inference.model import load

    pooling: Any
    pooling, precision = options
    model = load(folder, precision=precision)
    model.features(texts[:WARM_UP], pooling)
    began = time.perf_counter()
    vectors = {pooling: np.asarray(model.features(texts, pooling))}
else:
    import torch
    from transformers import BertModel, BertTokenizer

    tokenizer, bert = BertTokenizer.from_pretrained(folder), BertModel.from_pretrained(folder).eval()

    def features(texts: list[str]) -> dict[str, np.ndarray]:
        """Mean over the real tokens, and the hidden state of [CLS], of each text."""
        means, firsts = [], []
        with torch.inference_mode():
            for start in range(0, len(texts), BATCH_SIZE):
                batch = tokenizer(
                    texts[start : start + BATCH_SIZE], padding=True, truncation=True, max_length=MAX_LENGTH,
                    return_tensors="pt",
                )  # fmt: skip
                hidden, real = bert(**batch).last_hidden_state, batch["attention_mask"][..., None]
                means.append((hidden * real).sum(1) / real.sum(1))
                firsts.append(hidden[:, 0])
        return {"mean": torch.cat(means).numpy(), "cls": torch.cat(firsts).numpy()}

    features(texts[:WARM_UP])
    began = time.perf_counter()
    vectors = features(texts)
seconds = time.perf_counter() - began
for pooling, array in vectors.items():
    np.save(f"{out}.{pooling}.npy", array)
print(json.dumps({"texts_per_second": len(texts) / seconds, "seconds": seconds}))
