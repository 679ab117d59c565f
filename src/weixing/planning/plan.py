"""The plan of a run: memory, time and cost of the stages of a recipe, for a shape on some devices. Pure."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from weixing.errors import UserError
from weixing.planning.devices import GIB, Device
from weixing.planning.memory import Memory, training_memory
from weixing.planning.time import training_flops, update_seconds
from weixing.recipes import RECIPES, Recipe, recipe_for
from weixing.training.devices import Precision
from weixing.zoo import ZOO, Shape, parse_shape


@dataclass(frozen=True)
class Stage:
    """One stage: its recipe, with steps and rows as planned."""

    recipe: Recipe
    memory: Memory
    flops: float
    seconds: float

    @property
    def tokens(self) -> int:
        """Positions fed, padding included."""
        return self.recipe.steps * self.recipe.batch_size * self.recipe.sequence_length


@dataclass(frozen=True)
class Plan:
    """Of one shape: `price_per_hour` is one device's."""

    shape: Shape
    device: Device
    count: int
    precision: Precision
    price_per_hour: float
    stages: Sequence[Stage]

    @property
    def memory(self) -> Memory:
        """Of the stage that needs most."""
        return max((stage.memory for stage in self.stages), key=lambda memory: memory.total)

    @property
    def fits(self) -> bool:
        """Whether the memory is there: a GPU's own, or that of all cores together."""
        cores = self.count if self.device.is_core else 1
        return self.memory.total <= self.device.memory_gib * GIB * cores

    @property
    def seconds(self) -> float:
        """Of all stages."""
        return sum(stage.seconds for stage in self.stages)

    @property
    def cost(self) -> float:
        """In the price's currency."""
        return self.seconds / 3600 * self.count * self.price_per_hour

    def as_json(self) -> dict[str, Any]:
        """For scripts: bytes, seconds, operations."""
        return {
            "model": self.shape.name,
            "parameters": self.shape.parameters,
            "device": self.device.kind,
            "devices": self.count,
            "precision": self.precision,
            "speed_measured": self.device.measured,
            "memory_bytes": self.memory.total,
            "fits": self.fits,
            "flops": sum(stage.flops for stage in self.stages),
            "tokens": sum(stage.tokens for stage in self.stages),
            "seconds": self.seconds,
            "tokens_per_second": sum(stage.tokens for stage in self.stages) / self.seconds,
            "cost_usd": self.cost,
            "stages": [
                {
                    "recipe": stage.recipe.name, "sequence_length": stage.recipe.sequence_length,
                    "batch_size": stage.recipe.batch_size, "steps": stage.recipe.steps, "tokens": stage.tokens,
                    "flops": stage.flops, "seconds": stage.seconds,
                    "memory": {**asdict(stage.memory), "total": stage.memory.total},
                }
                for stage in self.stages
            ],
        }  # fmt: skip


def shapes_called(name: str, vocabulary_size: int) -> list[Shape]:
    """The shape of that name, or the 24 if it is ``all``.

    Raises:
        UserError: no such shape.
    """
    if name == "all":
        return [replace(shape, vocabulary_size=vocabulary_size) for shape in ZOO.values()]
    if shape := parse_shape(name, vocabulary_size):
        return [shape]
    raise UserError(
        f"no shape is called {name!r}", where="--model",
        accepted="all, 2/128 … 12/768, tiny mini small medium base, or any L/H with H a multiple of 64",
    )  # fmt: skip


def planned_stages(
    recipe: str,
    *,
    sequence_length: int | None = None,
    tokens: int | None = None,
    batch_size: int | None = None,
) -> list[Recipe]:
    """The stages of a recipe as they are to be planned: both, or the one for rows of `sequence_length`.

    Args:
        recipe: its name.
        tokens: positions to feed in the one stage, in place of the recipe's steps.
        batch_size: rows an update, of all stages.

    Raises:
        UserError: no such recipe, a number below 1, or tokens for two stages.
    """
    for option, value in (("--seq-length", sequence_length), ("--tokens", tokens), ("--batch-size", batch_size)):
        if value is not None and value < 1:
            raise UserError(f"{option} {value}", accepted="1 or more")
    first = recipe_for(recipe, sequence_length or 1)
    if tokens and not sequence_length:
        raise UserError("--tokens without --seq-length", accepted="both: tokens are those of one stage, say of 128")
    stages = [first] if sequence_length else list(RECIPES[recipe])
    if batch_size:
        stages = [replace(stage, batch_size=batch_size) for stage in stages]
    if tokens:
        row = stages[0].batch_size * stages[0].sequence_length
        stages = [replace(stages[0], steps=max(1, -(-tokens // row)))]
    return stages


def plan(
    shape: Shape,
    stages: Sequence[Recipe],
    device: Device,
    count: int,
    *,
    micro_batch_size: int | None = None,
    precision: Precision | None = None,
    entries: int | None = None,
    price_per_hour: float | None = None,
) -> Plan:
    """Plan the stages of a run.

    Args:
        count: devices: GPUs, or cores of one machine.
        micro_batch_size: rows of one forward pass on one device; None: all that it has of an update.
        precision: None: the device's own (bf16 where it has it).
        entries: vocabulary entries that the corpus reaches, for recipes that leave out the others.
        price_per_hour: of one device; None: the sheet's.

    Raises:
        UserError: a number out of range, a precision that the device has not, rows longer than the model's positions.
    """
    for option, value in (("--devices", count), ("--micro-batch-size", micro_batch_size), ("--entries", entries)):
        if value is not None and value < 1:
            raise UserError(f"{option} {value}", accepted="1 or more")
    if entries and entries > shape.vocabulary_size:
        raise UserError(f"--entries {entries}", accepted=f"at most {shape.vocabulary_size}, the vocabulary's")
    if price_per_hour is not None and not 0 <= price_per_hour < float("inf"):
        raise UserError(f"--price {price_per_hour:g}", accepted="0 or more")
    precision = precision or device.precision
    if precision not in device.peak_tflops:
        raise UserError(f"{device.name} has no {precision}", where="--precision", accepted="float32")
    planned = []
    for recipe in stages:
        if recipe.sequence_length > shape.positions:
            raise UserError(
                f"rows of {recipe.sequence_length} positions", where="--seq-length",
                accepted=f"at most {shape.positions}, the model's positions",
            )  # fmt: skip
        memory = training_memory(
            shape, recipe, devices=count, cores=device.is_core, precision=precision,
            micro_batch_size=micro_batch_size, entries=entries,
        )  # fmt: skip
        seconds = recipe.steps * update_seconds(shape, recipe, device, count, precision, entries)
        planned.append(Stage(recipe, memory, training_flops(shape, recipe, entries), seconds))
    price = device.usd_per_hour if price_per_hour is None else price_per_hour
    return Plan(shape, device, count, precision, price, planned)
