"""Hugging Face `tokenizers` on a corpus: ``hf_tokenize CORPUS VOCABULARY``. Tokenization alone is timed.

One thread: the caller sets RAYON_NUM_THREADS=1. Ids alone are wanted: `encode_batch_fast` keeps no offsets.
"""

import json
import sys
import time

from tokenizers import BertWordPieceTokenizer, Tokenizer

LINES = 1_000  # a batch

corpus, vocabulary = sys.argv[1:]
tokenizer = Tokenizer.from_str(BertWordPieceTokenizer(vocabulary, lowercase=True).to_str())
encode_batch = getattr(tokenizer, "encode_batch_fast", tokenizer.encode_batch)
with open(corpus, encoding="utf-8") as stream:
    lines = stream.read().splitlines()
began, tokens = time.perf_counter(), 0
for start in range(0, len(lines), LINES):
    tokens += sum(map(len, encode_batch(lines[start : start + LINES], add_special_tokens=False)))
print(json.dumps({"seconds": time.perf_counter() - began, "tokens": tokens}))
