"""Models, rows and numbers that the tests of the compiled passes share."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from weixing.data.borders import attention_mask
from weixing.model.compiled.buffers import Buffers, Numbers, numbers
from weixing.model.compiled.masked_lm import MaskedLanguageModelPass
from weixing.model.compiled.parameters import Gradients, Weights
from weixing.model.compiled.rows import Rows
from weixing.model.heads import MaskedLanguageModel
from weixing.model.initialisation import initialise
from weixing.zoo import Shape

VOCABULARY_SIZE, POSITIONS = 333, 40
B, T, M = 4, 24, 5


class Questions(NamedTuple):
    """Rows, and what is asked about them; M slots a row, some unused (position 0, weight 0)."""

    rows: Rows
    labels: np.ndarray
    weights: np.ndarray

    @property
    def attention(self) -> Tensor:
        return attention_mask(torch.from_numpy(self.rows.first), torch.from_numpy(self.rows.last))


class Compiled:
    """A model with its compiled pass, and the sums of the gradients that this makes."""

    def __init__(
        self, model: MaskedLanguageModel, dtype: torch.dtype, chosen: Mapping[str, np.ndarray] = MappingProxyType({})
    ) -> None:
        self.weights = Weights(model, dtype, chosen)
        self.weights.copy_chosen(0, 1)
        buffers = Buffers(dtype)
        self.sums = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
        self.gradients = Gradients(self.sums, buffers)
        self.add_gradients = MaskedLanguageModelPass(model, self.weights, self.gradients, buffers).add_gradients

    def __call__(self, *questions: Questions, dropout: float = 0.0, key: int = 0) -> float:
        self.gradients.begin()
        loss = sum(self.add_gradients(*asked, dropout, key) for asked in questions)
        self.gradients.finish()
        return loss


@pytest.fixture(scope="session")
def model_of() -> Callable[[str], MaskedLanguageModel]:
    """Models by shape, "L/H" or "L/H/units of a head/feed-forward units", whose vectors are not zeros and ones."""

    def make(name: str) -> MaskedLanguageModel:
        layers, hidden, *others = map(int, name.split("/"))
        head_units, feed_forward = others or (64, 4 * hidden)
        shape = Shape(layers, hidden, VOCABULARY_SIZE, POSITIONS, head_units=head_units, feed_forward=feed_forward)
        model = MaskedLanguageModel(shape)
        initialise(model, "bert", 7)
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
        return model

    return make


@pytest.fixture(scope="session")
def compiled() -> type[Compiled]:
    return Compiled


@pytest.fixture(scope="session")
def ask() -> Callable[..., Questions]:
    """Random questions: ``form`` is whole (all see all), documents (two a row, kept apart), padding, both or empty.

    Of the last, one row is padding alone, which sees its first position, and the others are whole.
    """

    def make(form: str = "whole", seed: int = 1, rows: int = B, length: int = T) -> Questions:
        random = np.random.default_rng(seed)
        ids = random.integers(5, VOCABULARY_SIZE, (rows, length))
        place = np.tile(np.arange(length), (rows, 1))
        kinds = random.integers(0, 2, (rows, length))
        first, last, real = np.zeros_like(place), np.full_like(place, length), np.full((rows, 1), length)
        if form in ("documents", "both"):
            cut = random.integers(1, length // 2, (rows, 1))
            first, last = np.where(place >= cut, cut, 0), np.where(place >= cut, length, cut)
        if form in ("padding", "both"):
            real = random.integers(length // 2, length, (rows, 1))
            ids = np.where(place < real, ids, 0)
            last = np.minimum(last, real)
        if form == "empty":
            ids[1], last[1], real[1] = 0, 1, 1
        # Asked of real tokens alone; a row has up to two slots to spare.
        asked = np.stack([np.resize(random.permutation(n)[:M], M) for n in real[:, 0]])
        used = np.arange(M) < random.integers(M - 2, M + 1, (rows, 1))
        asked = np.where(used, asked, 0)
        weights = np.where(used, random.random((rows, M)) / 9, 0).astype(np.float32)
        labels = random.integers(5, VOCABULARY_SIZE, (rows, M))
        return Questions(Rows(ids, place - first, kinds, first, last, asked), labels, weights)

    return make


@pytest.fixture(scope="session")
def by_autograd() -> Callable[..., tuple[float, dict[str, Tensor]]]:
    """Loss and gradients of questions by the plain model and autograd."""

    def compute(model: MaskedLanguageModel, *questions: Questions) -> tuple[float, dict[str, Tensor]]:
        model.zero_grad()
        total = 0.0
        for asked in questions:
            ids, positions, kinds, _, _, places = map(torch.from_numpy, asked.rows)
            logits = model(ids, kinds, asked.attention, positions, predict=places)
            losses = torch.nn.functional.cross_entropy(
                logits.transpose(1, 2), torch.from_numpy(asked.labels), reduction="none"
            )
            loss = (losses * torch.from_numpy(asked.weights)).sum()
            loss.backward()
            total += loss.item()
        return total, {name: p.grad for name, p in model.named_parameters()}

    return compute


@pytest.fixture(params=[torch.float32, torch.bfloat16], ids=["float32", "bf16"])
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    return request.param


@pytest.fixture
def of(dtype: torch.dtype) -> Callable[[Tensor], Numbers]:
    """Memory of its own with a tensor's values, as compiled loops take numbers."""

    def copy(tensor: Tensor) -> Numbers:
        return numbers(tensor.detach().to(dtype, copy=True))

    return copy


@pytest.fixture
def rounding(dtype: torch.dtype) -> dict[str, float]:
    """Tolerances of one rounding to `dtype`, for numbers of size 1."""
    return {"rtol": 2**-8, "atol": 2**-8} if dtype == torch.bfloat16 else {"rtol": 1e-5, "atol": 1e-6}


def relative_error(value: Tensor, expected: Tensor) -> float:
    """Of a whole gradient; where it should be zero (a key's bias moves no softmax), against 1e-4."""
    return ((value - expected).norm() / expected.norm().clamp(min=1e-4)).item()


@pytest.fixture(scope="session")
def difference() -> Callable[[Tensor, Tensor], float]:
    return relative_error
