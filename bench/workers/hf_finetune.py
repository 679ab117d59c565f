"""Fine-tuning as a user's script has it: ``hf_finetune MODEL TASK BATCH_SIZE``; one epoch, then the dev evaluation.

`transformers` BertForSequenceClassification in float32, torch's AdamW with linear warm-up and decay, each batch padded
to its longest text. Tokenization is not timed.
"""

import csv
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader
from transformers import (
    BertForSequenceClassification,
    BertTokenizer,
    DataCollatorWithPadding,
    get_linear_schedule_with_warmup,
)

MAX_LENGTH = 128

folder, task, batch_size = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
torch.manual_seed(7)
tokenizer = BertTokenizer.from_pretrained(folder)


def loader(name: str, shuffle: bool) -> DataLoader[dict[str, torch.Tensor]]:
    """Batches of a task file."""
    with open(task / name, encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))
    encoded = tokenizer([row["text_a"] for row in rows], truncation=True, max_length=MAX_LENGTH)["input_ids"]
    examples: Any = [{"input_ids": ids, "labels": int(row["label"])} for ids, row in zip(encoded, rows, strict=True)]
    collator = DataCollatorWithPadding(tokenizer)
    return DataLoader(examples, batch_size, shuffle=shuffle, collate_fn=collator)


train, dev = loader("train.tsv", shuffle=True), loader("dev.tsv", shuffle=False)
model = BertForSequenceClassification.from_pretrained(folder, num_labels=2)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.01)
schedule = get_linear_schedule_with_warmup(optimizer, len(train) // 10, len(train))
began = time.perf_counter()
model.train()
for batch in train:
    model(**batch).loss.backward()
    optimizer.step()
    schedule.step()
    optimizer.zero_grad()
trained = time.perf_counter()
model.eval()
correct = 0
with torch.no_grad():
    for batch in dev:
        correct += int((model(**batch).logits.argmax(1) == batch["labels"]).sum())
ended = time.perf_counter()
print(json.dumps({"train_seconds": trained - began, "dev_seconds": ended - trained, "correct": correct}))
