"""A fine-tuning cell in the plain way: ``plain_finetune MODEL TASK EPOCHS BATCH_SIZE RATE SEED``.

The same model, recipe and encoding as `weixing finetune`, but float32, torch's autograd, UER's AdamW in torch, and
batches of shuffled rows, each padded to 128 tokens.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch

from weixing.formats.naming import load_encoder
from weixing.tasks.encoding import encode_examples
from weixing.tasks.files import load_task
from weixing.tasks.finetune import BETAS, DROPOUT, EPSILON, WARMUP_SHARE, WEIGHT_DECAY
from weixing.tasks.kinds import objective_for
from weixing.tasks.losses import Loss
from weixing.tasks.steps import AutogradSteps
from weixing.text.tokenizer import Tokenizer
from weixing.training.optimizers import UncorrectedAdamW, decay_groups
from weixing.training.schedules import linear_schedule

MAX_LENGTH = 128

folder, task_folder = sys.argv[1], Path(sys.argv[2])
epochs, batch_size, rate, seed = int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]), int(sys.argv[6])
torch.manual_seed(seed)
generator = np.random.default_rng(seed)
encoder, vocabulary = load_encoder(folder)
task = load_task("task", task_folder / "train.tsv", task_folder / "dev.tsv")
objective = objective_for(task)
train, dev = (encode_examples(part, objective, Tokenizer(vocabulary), MAX_LENGTH) for part in (task.train, task.dev))
began = time.perf_counter()
model = objective.model(encoder)
model.encoder.set_dropout(DROPOUT)
steps = AutogradSteps(model, Loss(objective), "float32")
optimizer = UncorrectedAdamW(decay_groups(model.parameters(), WEIGHT_DECAY), lr=rate, betas=BETAS, eps=EPSILON)
total, step = epochs * -(-len(train) // batch_size), 0
for _ in range(epochs):
    order = torch.from_numpy(generator.permutation(len(train)))
    for rows in order.split(batch_size):
        for group in optimizer.param_groups:
            group["lr"] = rate * linear_schedule(step, int(WARMUP_SHARE * total), total)
        steps.gradients(train.batch(rows, MAX_LENGTH), step)
        optimizer.step()
        step += 1
batches = [dev.batch(rows, MAX_LENGTH) for rows in torch.arange(len(dev)).split(64)]
right = sum(
    int((logits.argmax(1) == batch.targets).sum()) for logits, batch in zip(steps.logits(batches), batches, strict=True)
)
print(json.dumps({"dev_accuracy": 100 * right / len(dev), "seconds": time.perf_counter() - began}))
