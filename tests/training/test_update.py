"""An update as one CUDA graph is the plain update, bit for bit, on a CPU whose graphs are tapes of torch's operators.

A tape does what a graph does: it records what runs between two points without its effects, and runs it again with the
same tensors, whatever has been written into them, and with the same numbers of the host.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from weixing.data.masking import Masking
from weixing.data.shards import ShardSet
from weixing.model.heads import MaskedLanguageModel
from weixing.model.initialisation import initialise
from weixing.recipes import RECIPES
from weixing.training.batch import BatchMaker
from weixing.training.gradients import AutogradGradients
from weixing.training.optimizers import build_optimizers, set_learning_rates
from weixing.training.update import UNCAPTURED_UPDATES, CapturedUpdate, Update, put_learning_rates_on
from weixing.zoo import Shape

ROWS, CPU = 8, torch.device("cpu")


class Tape(TorchDispatchMode):
    """Stands for torch.cuda.CUDAGraph."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[tuple[Any, Any, Any, Any]] = []
        self.replays = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        self.operations.append((function, args, kwargs or {}, result))
        return result

    def replay(self) -> None:
        self.replays += 1
        with torch.no_grad(), torch._C._AutoDispatchBelowAutograd():
            for function, args, kwargs, result in self.operations:
                again = function(*args, **kwargs)
                for old, new in zip(tree_leaves(result), tree_leaves(again), strict=True):
                    if isinstance(old, Tensor) and old.data_ptr() != new.data_ptr():
                        old.copy_(new)


class Side:
    """A model of its own with its optimizers, updated plainly."""

    def __init__(self, shards: ShardSet, recipe_name: str, every: int) -> None:
        recipe = RECIPES[recipe_name][0]
        self.shards = shards
        self.model = MaskedLanguageModel(Shape(2, 64, len(shards.vocabulary), 32), dropout=recipe.dropout)
        initialise(self.model, "bert", 7)
        self.model.train()
        self.batches = BatchMaker(
            shards.vocabulary, Masking(shards.vocabulary, rate=0.15), recipe.isolate_documents, CPU
        )
        self.optimizers = build_optimizers(self.model, recipe, CPU)
        for group in self.optimizers[-1].param_groups:
            if "every" in group:
                group["every"] = every
        self.update = Update(self.batches, AutogradGradients(self.model, "float32", ROWS), self.optimizers, 1.0)

    def state(self) -> list[Tensor]:
        """All that an update may change, by the way random numbers are drawn from."""
        states = [t for o in self.optimizers for s in o.state.values() for t in s.values() if isinstance(t, Tensor)]
        return [*self.model.parameters(), *states]

    def train(self, update: Any, steps: int, start: int = 0) -> list[Tensor]:
        """What `steps` steps measure, their rows now padded and now not, as steps and learning rates go on."""
        measured = []
        torch.manual_seed(3)
        for step in range(start, start + steps):
            rows = self.shards.rows(np.arange(ROWS) + step % 4)
            if step % 3 == 2:
                rows[1, 20:] = self.shards.vocabulary.pad_id
            set_learning_rates(self.optimizers, (step + 1) / steps)
            measured.append(update(self.batches.read(rows, None), step).clone())
        return measured


@pytest.fixture
def tapes(monkeypatch) -> Callable[[Side], list[Tape]]:
    """CUDA graphs become tapes: called with the side that will be captured, gives the list of those that are made."""

    def watch(side: Side) -> list[Tape]:
        made = []

        @contextmanager
        def capture(tape: Tape, pool: Any, capture_error_mode: str) -> Iterator[None]:
            # What runs is undone: a capture computes nothing.
            before, random = [(t, t.detach().clone()) for t in side.state()], torch.get_rng_state()
            with tape:
                yield
            torch.set_rng_state(random)
            with torch.no_grad():
                for tensor, value in before:
                    tensor.copy_(value)
            made.append(tape)

        monkeypatch.setattr(torch.cuda, "CUDAGraph", Tape)
        monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: None)
        monkeypatch.setattr(torch.cuda, "graph", capture)
        return made

    return watch


@pytest.mark.parametrize(("recipe", "every"), [("weixing", 1), ("weixing", 3), ("uer", 1)])
def test_captured_updates_are_the_plain_ones_bit_for_bit(tiny_shards, tapes, recipe, every):
    shards, steps = ShardSet(tiny_shards), 30
    plain, own = (Side(shards, recipe, every) for _ in range(2))
    made = tapes(own)
    for optimizer in plain.optimizers + own.optimizers:  # a graph's learning rates are float32, a host's are not
        put_learning_rates_on(CPU, optimizer)
    expected = plain.train(plain.update, steps)
    measured = own.train(CapturedUpdate(own.update), steps)
    assert all(torch.equal(a, b) for a, b in zip(measured, expected, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(own.state(), plain.state(), strict=True))
    # Two forms of rows, and of each at most one graph for each of Muon's turns; beyond the first updates nothing else.
    assert 2 <= len(made) <= 2 * every
    assert sum(tape.replays for tape in made) == steps - 2 * UNCAPTURED_UPDATES
