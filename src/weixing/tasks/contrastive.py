"""Training of sentence vectors: one cell, as `weixing.tasks.finetune` trains a classifier. Reads task files.

By torch's autograd on any device: each text of a batch is held against all others, so that rows cannot be worked on one
by one as in the compiled passes.
"""

import copy
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from weixing.errors import UserError
from weixing.model.encoder import Encoder
from weixing.tasks.batches import shuffled_batches, sorted_batches, width_of
from weixing.tasks.cells import Cell
from weixing.tasks.encoding import Encoded
from weixing.tasks.files import Examples, Task, read_examples
from weixing.tasks.finetune import BETAS, DROPOUT, EPSILON, WARMUP_SHARE, WEIGHT_DECAY, Kept, Outcome, require_finite
from weixing.tasks.named import name_of_files
from weixing.tasks.rows import Layout, read_text
from weixing.tasks.similarity import Similarity
from weixing.tasks.tuning import Contrast, SentencePooling, Tuning
from weixing.text.tokenizer import Tokenizer
from weixing.training.devices import Precision, autocast
from weixing.training.optimizers import decay_groups, set_learning_rates, uer_adamw
from weixing.training.schedules import linear_schedule

DEV_BATCH = 64  # texts


def open_similarity(
    train: Path | None,
    dev: Path | None,
    layout: Layout,
    tuning: Tuning,
    contrast: Contrast,
    pooling: SentencePooling,
) -> tuple[Task, Similarity]:
    """The task of two files of pairs, and what is learnt; for SimCSE `train` may hold a text a line, in a ``.txt``.

    Raises:
        UserError: as `read_examples`; a file is missing; single texts where pairs are needed; labels that tell nothing
            apart; options of classifiers.
    """
    if train is None or dev is None:
        raise UserError("similarity without files", accepted="--train FILE --dev FILE, pairs of texts with a label")
    if tuning != Tuning(patience=tuning.patience):
        raise UserError("--layer-decay, --r-drop or --teacher with --task similarity", accepted="--patience alone")
    if layout.kind not in (None, "number") or layout.separator is not None:
        raise UserError("--kind or --label-separator with --task similarity", accepted="labels that are numbers")
    numbers = Layout(layout.text, layout.text_pair, layout.label, "number")
    dev_pairs = _pairs(dev, numbers)
    gold = [float(str(label)) for label in dev_pairs.labels]
    if len(set(gold)) < 2:
        raise UserError(f"every dev pair has the label {gold[0]:g}", where=dev, accepted="different labels")
    texts = _texts(train, numbers) if contrast == "simcse" else _pairs(train, numbers)
    if contrast != "simcse" and len(set(texts.labels)) < 2:
        raise UserError(f"every pair has the label {texts.labels[0]}", where=train, accepted="different labels")
    task = Task(name_of_files(train), texts, dev_pairs, (), "number")
    return task, Similarity(contrast, pooling, binary=set(gold) <= {0.0, 1.0})


def _pairs(path: Path, layout: Layout) -> Examples:
    examples = read_examples(path, layout)
    if examples.second_texts is None:
        raise UserError(
            "single texts", where=path, accepted="pairs: columns text_a and text_b, or --text and --text-pair"
        )
    return examples


def _texts(path: Path, layout: Layout) -> Examples:
    """Every distinct text of a file of pairs or texts, or of lines; without labels."""
    text = read_text(path)
    lines = text.split("\n")
    if path.suffix.lower() == ".txt" and "\t" not in lines[0]:
        numbered = [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip()]
    else:
        examples = read_examples(path, layout)
        numbered = list(zip(examples.lines, examples.texts, strict=True))
        numbered += zip(examples.lines, examples.second_texts or [], strict=False)
    first_line: dict[str, int] = {}
    for number, one in numbered:
        first_line.setdefault(one, number)
    if len(first_line) < 2:
        raise UserError("fewer than two texts", where=path, accepted="texts to tell apart")
    kept = list(first_line)
    return Examples(
        path, kept, None, [0.0] * len(kept), list(first_line.values()), len(numbered) - len(kept), None, "number"
    )


def encode_pairs(examples: Examples, tokenizer: Tokenizer, max_length: int) -> Encoded:
    """Each text a row of its own, [CLS] text [SEP]: all first texts, then all second ones, if there are any.

    `targets` are float64 [rows, 2]: the label of the pair, brought to 0 … 1, and a number that is equal where texts
    are. `len` counts pairs.
    """
    vocabulary, texts = tokenizer.vocabulary, examples.texts + (examples.second_texts or [])
    ids, offsets = tokenizer.encode_batch(texts)
    lengths = np.minimum(np.diff(offsets), max_length - 2) + 2
    starts = np.cumsum(lengths) - lengths
    rows = np.empty(int(lengths.sum()), np.int64)
    for row, (start, length) in enumerate(zip(starts, lengths, strict=True)):
        rows[start] = vocabulary.cls_id
        rows[start + 1 : start + length - 1] = ids[offsets[row] : offsets[row] + length - 2]
        rows[start + length - 1] = vocabulary.sep_id
    numbers: dict[str, int] = {}
    identities = np.array([numbers.setdefault(text, len(numbers)) for text in texts], np.float64)
    labels = np.array(examples.labels, np.float64)
    spread = labels.max() - labels.min()
    labels = np.tile((labels - labels.min()) / (spread or 1.0), len(texts) // len(labels))
    return Encoded(
        ids=torch.from_numpy(rows), starts=torch.from_numpy(starts), lengths=torch.from_numpy(lengths),
        first_lengths=torch.from_numpy(lengths), targets=torch.from_numpy(np.stack([labels, identities], 1)),
        labels=examples.labels, pad_id=vocabulary.pad_id,
    )  # fmt: skip


def fine_tune_similarity(
    pretrained: Encoder,
    train: Encoded,
    dev: Encoded,
    objective: Similarity,
    cell: Cell,
    *,
    max_length: int,
    device: torch.device,
    precision: Precision,
    tuning: Tuning,
    report: Callable[[int, str], None] = lambda rows, note: None,
) -> Outcome:
    """Train one cell; arguments and errors are those of `fine_tune`, the rows those of `encode_pairs`."""
    began = time.monotonic()
    lengths = train.lengths.cpu().numpy()
    total_steps = cell.total_steps(len(train))
    warmup_steps = int(WARMUP_SHARE * total_steps)
    epoch_scores: list[float] = []
    epoch_losses: list[float] = []
    kept: Kept | None = None
    step = 0
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(cell.seed)
        generator = np.random.default_rng(cell.seed)
        encoder = copy.deepcopy(pretrained).to(device)
        encoder.set_dropout(DROPOUT)
        groups = [group | {"peak": cell.learning_rate} for group in decay_groups(encoder.parameters(), WEIGHT_DECAY)]
        optimizer = uer_adamw(groups, lr=cell.learning_rate, betas=BETAS, eps=EPSILON, workers=None, copies={})
        for epoch in range(1, cell.epochs + 1):
            encoder.train()
            batches = shuffled_batches(len(train), cell.batch_size, generator)
            losses = torch.zeros(len(batches), device=device)
            for number, pairs in enumerate(batches):
                set_learning_rates([optimizer], linear_schedule(step, warmup_steps, total_steps))
                rows = np.concatenate([pairs, pairs if objective.contrast == "simcse" else pairs + len(train)])
                loss = _loss(encoder, train, rows, width_of(lengths[rows], max_length), objective, precision)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                losses[number] = loss.detach()
                step += 1
                report(len(pairs), f"epoch {epoch}/{cell.epochs}")
            require_finite(losses, cell, first_step=step - len(batches) + 1)
            epoch_losses.append(losses.mean().item())
            predictions = cosines(encoder, dev, objective, precision, max_length)
            score = objective.score(predictions, dev.labels)
            epoch_scores.append(score.percent)
            if tuning.patience is None:
                kept = Kept(epoch, predictions, score, None)
            elif kept is None or score.percent > kept.score.percent:
                kept = Kept(epoch, predictions, score, {n: x.clone() for n, x in encoder.state_dict().items()})
            elif epoch - kept.epoch >= tuning.patience:
                break
    assert kept
    if kept.weights is not None:
        encoder.load_state_dict(kept.weights)
    encoder.set_dropout(0.0)
    return Outcome(
        encoder, kept.predictions, objective.metric, *kept.score, kept.epoch, epoch_scores, epoch_losses, step,
        time.monotonic() - began,
    )  # fmt: skip


def _loss(
    encoder: Encoder, rows: Encoded, chosen: np.ndarray, width: int, objective: Similarity, precision: Precision
) -> Tensor:
    batch = rows.batch(torch.from_numpy(chosen).to(rows.ids.device), width)
    with autocast(batch.ids.device, precision):
        hidden = encoder(batch.ids, None, batch.attention)
    first, second = objective.vectors(hidden, batch.attention).chunk(2)
    labels, identities = batch.targets.unbind(1)
    return objective.loss(first, second, labels[: len(first)].float(), identities.long().view(2, -1))


@torch.no_grad()
def cosines(
    encoder: Encoder, rows: Encoded, objective: Similarity, precision: Precision, max_length: int
) -> np.ndarray:
    """The cosine of each pair in `rows`, float32 [N]."""
    encoder.eval()
    lengths = rows.lengths.cpu().numpy()
    vectors = torch.empty(len(lengths), encoder.shape.hidden)
    for some in sorted_batches(lengths, DEV_BATCH):
        batch = rows.batch(torch.from_numpy(some).to(rows.ids.device), width_of(lengths[some], max_length))
        with autocast(batch.ids.device, precision):
            hidden = encoder(batch.ids, None, batch.attention)
        vectors[torch.from_numpy(some)] = objective.vectors(hidden, batch.attention).cpu()
    first, second = vectors.chunk(2)
    return (first * second).sum(1).numpy()


def settings_of(objective: Similarity) -> dict[str, object]:
    """What a result and a run's settings say of it."""
    return {"contrast": objective.contrast, "pooling": objective.pooling, "scale": objective.scale}
