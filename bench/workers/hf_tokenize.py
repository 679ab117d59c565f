"""Hugging Face `tokenizers` on a corpus: ``hf_tokenize CORPUS VOCABULARY``. Tokenization alone is timed.

One thread: the caller sets RAYON_NUM_THREADS=1.
"""

import json
import sys
import time

from tokenizers import BertWordPieceTokenizer

LINES = 1_000  # a batch

corpus, vocabulary = sys.argv[1:]
tokenizer = BertWordPieceTokenizer(vocabulary, lowercase=True)
with open(corpus, encoding="utf-8") as stream:
    lines = stream.read().splitlines()
began, tokens = time.perf_counter(), 0
for start in range(0, len(lines), LINES):
    tokens += sum(map(len, tokenizer.encode_batch(lines[start : start + LINES], add_special_tokens=False)))
print(json.dumps({"seconds": time.perf_counter() - began, "tokens": tokens}))
