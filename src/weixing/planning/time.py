"""Time of a pretraining run: operations over peak times achieved share, and what else an update waits for. Pure."""

from dataclasses import replace

from weixing.planning.devices import Device
from weixing.recipes import Recipe
from weixing.training.devices import Precision
from weixing.training.muon import orthogonalisation_interval
from weixing.zoo import Shape

LINK_SHARE = 0.5  # of a link's rate that an all-reduce reaches: an assumption
GRADIENT_BYTES = 4


def flops_per_token(shape: Shape, recipe: Recipe, entries: int | None = None) -> float:
    """Operations for one position (`weixing.zoo`: what this project computes).

    Args:
        entries: vocabulary entries that the rows hold, where a recipe leaves out the others; None: all.
    """
    if entries and recipe.reached_only:
        shape = replace(shape, vocabulary_size=entries)
    return shape.training_flops_per_token(recipe.sequence_length, recipe.masking_rate)


def training_flops(shape: Shape, recipe: Recipe, entries: int | None = None) -> float:
    """Operations of all updates."""
    tokens = recipe.steps * recipe.batch_size * recipe.sequence_length
    return tokens * flops_per_token(shape, recipe, entries)


def update_seconds(
    shape: Shape, recipe: Recipe, device: Device, count: int, precision: Precision, entries: int | None = None
) -> float:
    """Seconds of one update on `count` devices, each with an equal share of its rows.

    A GPU's own seconds, however small the update is, are those of Muon's many small products, measured with an
    orthogonalisation in every update; where one comes every k updates, a kth of them. Gradients are summed over GPUs
    in a ring (2 (k - 1) / k of them go through every link), after the backward pass.
    """
    rows = recipe.batch_size / count if device.is_core else -(-recipe.batch_size // count)
    flops = rows * recipe.sequence_length * flops_per_token(shape, recipe, entries)
    seconds = flops / (1e12 * device.peak_tflops[precision] * device.share(shape.hidden))
    every = 1
    if recipe.optimizer == "muon":
        tokens = recipe.batch_size * recipe.sequence_length
        every = orthogonalisation_interval(shape, tokens, recipe.masking_rate, recipe.sequence_length)
    seconds += device.update_seconds / every
    if device.link_gb_per_second and count > 1:
        through = 2 * (count - 1) / count * GRADIENT_BYTES * shape.parameters
        seconds += through / (1e9 * device.link_gb_per_second * LINK_SHARE)
    return seconds
