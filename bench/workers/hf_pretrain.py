"""Masked-LM training as a user's script has it: ``hf_pretrain MODEL SHARDS BATCH_SIZE SECONDS``.

`transformers` BertForMaskedLM in float32 with its default dropout, torch's AdamW, the library's own collator for
dynamic masking. The first steps are left out; then it trains until `SECONDS` have passed.
"""

import json
import sys
import time
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader
from transformers import BertConfig, BertForMaskedLM, BertTokenizer, DataCollatorForLanguageModeling

from weixing.data.shards import ShardSet

WARM_UP_STEPS = 2
SLOW_STEP_SECONDS = 20.0  # of such steps the first alone is left out

folder, shards, batch_size, seconds = sys.argv[1], ShardSet(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
torch.manual_seed(7)
examples: Any = [{"input_ids": row} for row in shards.rows(np.arange(len(shards))).tolist()]
collator = DataCollatorForLanguageModeling(BertTokenizer.from_pretrained(folder), mlm_probability=0.15)
loader = DataLoader(examples, batch_size, shuffle=True, collate_fn=collator, drop_last=True)
model = BertForMaskedLM(BertConfig.from_pretrained(folder)).train()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.01)
step_seconds: list[float] = []
timed: list[float] = []
while sum(timed) < seconds:
    began = time.perf_counter()
    for batch in loader:
        loss = model(**batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        step_seconds.append(time.perf_counter() - began)
        timed = step_seconds[1 if step_seconds[0] > SLOW_STEP_SECONDS else WARM_UP_STEPS :]
        if sum(timed) >= seconds:
            break
        began = time.perf_counter()
tokens = len(timed) * batch_size * shards.manifest.sequence_length
print(json.dumps({"tokens_per_second": tokens / sum(timed), "steps": len(timed), "loss": loss.item()}))
