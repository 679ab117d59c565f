"""The memory of a plan: to the byte where it can be counted, in proportion where it is an estimate."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from weixing.data.masking import Masking
from weixing.model.compiled.workers import Workers
from weixing.model.heads import MaskedLanguageModel
from weixing.model.initialisation import initialise
from weixing.planning.memory import compiled_pass, pass_rows, training_memory
from weixing.recipes import UER_STAGE_1, WEIXING_STAGE_1
from weixing.training.batch import BatchMaker
from weixing.training.gradients import CompiledGradients
from weixing.training.optimizers import build_optimizers
from weixing.zoo import ZOO, Shape

T = 48
BYTES = {"bf16": 2, "float32": 4}


def an_update(vocabulary, shape, recipe, precision, workers, micro, entries=None):
    """What made the gradients of an update of random rows."""
    model = MaskedLanguageModel(shape)
    initialise(model, "bert", 7)
    model.train()
    gradients = CompiledGradients(model, precision, Workers(workers), recipe.dropout, micro, entries)
    rows = np.random.default_rng(1).integers(104, len(vocabulary), (recipe.batch_size, T)).astype(np.uint16)
    masking = Masking(vocabulary, rate=recipe.masking_rate, drawn_from=entries)
    gradients(BatchMaker(vocabulary, masking, False, torch.device("cpu"))(rows, None, 1), seed=1)
    return gradients


@pytest.mark.parametrize("precision", ["bf16", "float32"])
@pytest.mark.parametrize(
    ("layers", "recipe", "workers", "micro"),
    [(1, WEIXING_STAGE_1, 1, 5), (2, WEIXING_STAGE_1, 2, 1 << 30), (3, UER_STAGE_1, 2, 3), (1, UER_STAGE_1, 1, 99)],
)
def test_what_a_pass_works_in_and_what_optimizers_keep_is_counted_to_the_byte(
    tiny_vocabulary, precision, layers, recipe, workers, micro
):
    shape = Shape(layers, 128, len(tiny_vocabulary), T)
    batch_size = 11 if workers == 1 else 12  # of which every core has a like share
    recipe = replace(recipe, batch_size=batch_size, sequence_length=T)
    entries = np.arange(0, len(tiny_vocabulary), 2) if recipe.reached_only else None
    gradients = an_update(tiny_vocabulary, shape, recipe, precision, workers, micro, entries)
    chosen = None if entries is None else len(entries)
    rows = pass_rows(shape, recipe, batch_size // workers, micro)
    expected = compiled_pass(shape, recipe, rows, BYTES[precision], chosen)
    for one in gradients._parallel.passes:
        kept = sum(memory.numel() * memory.element_size() for memory in one.buffers._memory.values())
        assert kept == expected
    memory = training_memory(
        shape, recipe, devices=workers, cores=True, precision=precision, micro_batch_size=micro, entries=chosen
    )
    assert memory.activations == workers * expected
    assert memory.parameters == 4 * shape.parameters
    sums = [total for one in gradients._parallel.passes for total in one.gradients.sums.values()]
    assert memory.gradients == sum(total.array.nbytes for total in sums)
    copies = {id(copy.array): copy.array.nbytes for copy in gradients._parallel.weights._copies.values()}
    masters = sum(m.array.nbytes for m in gradients._parallel.weights._masters.values() if id(m.array) in copies)
    assert memory.copies == sum(copies.values()) - masters


@pytest.mark.parametrize("recipe", [WEIXING_STAGE_1, UER_STAGE_1], ids=lambda recipe: recipe.name)
@pytest.mark.parametrize("batch_size", [2, 64])  # with 2, directions of Muon are kept
def test_the_states_of_the_recipes_optimizers_are_counted_to_the_byte(tiny_vocabulary, recipe, batch_size):
    shape = Shape(2, 128, len(tiny_vocabulary), T)
    recipe = replace(recipe, batch_size=batch_size, sequence_length=T)
    model = MaskedLanguageModel(shape)
    optimizers = build_optimizers(model, recipe, torch.device("cpu"))
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    for optimizer in optimizers:
        optimizer.step()
    states = [state for one in optimizers for states in one.state.values() for state in states.values()]
    kept = [s for s in states if isinstance(s, torch.Tensor) and s.dim()]  # torch's AdamW counts its steps
    precision = "bf16" if any(s.dtype == torch.bfloat16 for s in kept) else "float32"
    memory = training_memory(shape, recipe, devices=1, cores=True, precision=precision)
    assert memory.optimizer == sum(s.numel() * s.element_size() for s in kept)


def test_memory_of_a_gpu_falls_with_the_rows_of_a_pass_and_with_devices():
    def total(**given):
        asked = {"devices": 1, "cores": False, "precision": "bf16", **given}
        return training_memory(ZOO["12/768"], UER_STAGE_1, **asked).total

    assert total() > total(devices=8) > total(devices=8, micro_batch_size=16)
    assert total(precision="float32") > total()
