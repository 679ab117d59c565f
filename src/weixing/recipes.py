"""Pretraining recipes as frozen values: the published one and this project's own. No I/O, no torch.

A step is one optimizer update, whatever the number of devices and of micro-batches. A recipe has one value for each
stage (sequence length 128, then 512 from the first stage's weights); a variant is ``dataclasses.replace(recipe, …)``.
tests/golden/recipes.json holds every value, so that a change of any of them shows as a diff.
"""

from dataclasses import dataclass, replace
from typing import Literal

from weixing.errors import UserError

Layout = Literal["packed", "uer"]
MaskingUnit = Literal["token", "word", "span"]
Initialisation = Literal["bert", "uer", "neighbours"]


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the course of a pretraining run, apart from data, shape and seed.

    Args:
        name: ``uer`` or ``weixing``.
        layout: the row layout the recipe was made for (`prepare --layout`).
        sequence_length: positions a row.
        batch_size: rows an update, over all devices and micro-batches.
        steps: optimizer updates.
        optimizer: ``muon``: Muon on the encoder's matrices and AdamW on all else; ``uer_adamw``: UER's AdamW
            (no bias correction) on everything.
        peak_learning_rate: of AdamW.
        matrix_learning_rate, matrix_momentum: peak and (Nesterov) momentum of Muon; unused by ``uer_adamw``.
        betas, epsilon: of AdamW.
        weight_decay: decoupled, of AdamW; applied to matrices and embeddings, never to biases and LayerNorms.
        matrix_weight_decay: decoupled, of Muon; unused by ``uer_adamw``.
        warmup_share: share of the steps in which the learning rates rise linearly from 0.
        decay_share: share of the steps, at the end, in which they fall linearly to 0; between the two they hold.
        gradient_clip: largest L2 norm of the whole gradient; None: no clipping.
        dropout: on embeddings, attention probabilities and both outputs of a layer.
        initialisation: see `weixing.model.initialisation`.
        masking_rate: masked positions as a share of a row's tokens.
        masking_unit: what is drawn whole: tokens, words (`prepare --whole-words`), or spans.
        reached_only: fresh models predict, and are shown at random, the vocabulary entries alone that the rows hold; at
            the end the others get the mean vector and bias of the rarest ones.
        isolate_documents: attention and positions stay within one document of a packed row.
        shuffle_window: rows are shuffled within consecutive windows of this many; None: over the whole set.
    """

    name: str
    layout: Layout
    sequence_length: int
    batch_size: int
    steps: int
    optimizer: Literal["muon", "uer_adamw"]
    peak_learning_rate: float
    matrix_learning_rate: float
    matrix_momentum: float
    betas: tuple[float, float]
    epsilon: float
    weight_decay: float
    matrix_weight_decay: float
    warmup_share: float
    decay_share: float
    gradient_clip: float | None
    dropout: float
    initialisation: Initialisation
    masking_rate: float
    masking_unit: MaskingUnit
    isolate_documents: bool
    reached_only: bool
    shuffle_window: int | None


UER_STAGE_1 = Recipe(
    name="uer",
    layout="uer",
    sequence_length=128,
    batch_size=512,  # 64 rows on each of 8 devices
    steps=1_000_000,
    optimizer="uer_adamw",
    peak_learning_rate=1e-4,
    matrix_learning_rate=0.0,
    matrix_momentum=0.0,
    betas=(0.9, 0.999),
    epsilon=1e-6,
    weight_decay=0.01,
    matrix_weight_decay=0.0,
    warmup_share=0.1,
    decay_share=0.9,
    gradient_clip=None,
    dropout=0.1,
    initialisation="uer",
    masking_rate=0.15,
    masking_unit="token",
    isolate_documents=False,
    reached_only=False,
    shuffle_window=8 * 25_600,  # a buffer of 25,600 rows on each of 8 devices
)
"""Stage 1 of the published recipe: UER-py's command line on the model cards, its code for the rest
(uer/trainer.py:36-64, uer/utils/optimizers.py:79-86 and 324-400, uer/utils/mask.py, uer/utils/dataloader.py:29-46).

Where the published weights and today's UER-py differ, this follows today's code, which can be run beside it: weight
decay is 0.01 (at the time of the published weights a misspelt key left it at 0). As in UER-py, the learning rate of
the very first update is 0. UER-py's gain of its LayerNorm, which divides by the unbiased standard deviation, is
carried over by the initialisation; its eps of 1e-6 on the deviation becomes BERT's 1e-12 on the variance. A row with
nothing to predict (a window that holds only a [SEP]) carries no weight. Each row masks exactly
``max(1, round(0.15 · tokens))`` positions, [CLS] and [SEP] counted as tokens and never masked.
"""

UER_STAGE_2 = replace(
    UER_STAGE_1,
    sequence_length=512,
    batch_size=128,
    steps=250_000,
    peak_learning_rate=5e-5,
)
"""Stage 2 of the published recipe, from stage 1's weights (`--init`), with a fresh optimizer."""

WEIXING_STAGE_1 = Recipe(
    name="weixing",
    layout="packed",
    sequence_length=128,
    batch_size=16,
    steps=100_000,
    optimizer="muon",
    peak_learning_rate=2e-3,
    matrix_learning_rate=0.01,
    matrix_momentum=0.95,
    betas=(0.9, 0.98),
    epsilon=1e-8,
    weight_decay=0.01,
    matrix_weight_decay=0.1,
    warmup_share=0.1,
    decay_share=0.4,
    gradient_clip=1.0,
    dropout=0.0,
    initialisation="neighbours",
    masking_rate=0.15,
    masking_unit="token",
    isolate_documents=True,
    reached_only=True,
    shuffle_window=None,
)
"""This project's default, in its first form: Muon with weight decay on the encoder's matrices, small batches (which
learn most from a token, and cost little speed on a CPU), no dropout, warm-up – hold – decay to zero."""

WEIXING_STAGE_2 = replace(
    WEIXING_STAGE_1,
    sequence_length=512,
    batch_size=8,
    steps=20_000,
    peak_learning_rate=5e-4,
    matrix_learning_rate=0.005,
)
"""Stage 2, from stage 1's weights: the positions from 128 on are learnt here."""

RECIPES = {"weixing": (WEIXING_STAGE_1, WEIXING_STAGE_2), "uer": (UER_STAGE_1, UER_STAGE_2)}


def recipe_for(name: str, sequence_length: int) -> Recipe:
    """The stage of recipe `name` for rows of `sequence_length`: stage 1 up to 128 positions, stage 2 above.

    Raises:
        UserError: there is no recipe of that name.
    """
    if name not in RECIPES:
        raise UserError(f"no recipe is called {name!r}", where="--recipe", accepted=" or ".join(RECIPES))
    first, second = RECIPES[name]
    stage = first if sequence_length <= first.sequence_length else second
    return replace(stage, sequence_length=sequence_length)
