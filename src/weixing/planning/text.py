"""Plans as lines of text. Pure."""

from collections.abc import Sequence

from weixing.planning.devices import GIB
from weixing.planning.memory import Memory
from weixing.planning.plan import Plan

PARTS = {
    "base": "before any model (interpreter, libraries)", "parameters": "parameters",
    "copies": "their copies for matrix products", "gradients": "gradients", "optimizer": "states of the optimizer",
    "activations": "activations and what passes work in", "workspace": "work of the optimizer's update",
    "checkpoint": "copy that checkpoints are written from", "saving": "export of the finished model",
}  # fmt: skip


def as_table(plans: Sequence[Plan]) -> list[str]:
    """A line for each plan; of a single one its memory, part by part. What was assumed is said below."""
    first = plans[0]
    lines = [f"{'model':8}{'parameters':>12}{'GiB':>8}{'EFLOP':>10}{'tokens/s':>13}{'time':>10}{'USD':>9}"]
    for plan in plans:
        flops = sum(stage.flops for stage in plan.stages)
        speed = sum(stage.tokens for stage in plan.stages) / plan.seconds
        lines.append(
            f"{plan.shape.name:8}{plan.shape.parameters:>12,}{plan.memory.total / GIB:>8.1f}{flops / 1e18:>10.4g}"
            f"{speed:>13,.0f}{duration(plan.seconds):>10}{plan.cost:>9,.2f}{'' if plan.fits else '  does not fit'}"
        )
    if len(plans) == 1:
        lines += ["", *_parts(first.memory)]
    lines += ["", f"{first.count} × {first.device.name}, {first.precision}, {first.price_per_hour:g} USD an hour each"]
    lines += [
        f"recipe {recipe.name}: {recipe.steps:,} updates of {recipe.batch_size} rows of {recipe.sequence_length}"
        for recipe in (stage.recipe for stage in first.stages)
    ]
    memory = "of the whole process" if first.device.is_core else "a device, an estimate not yet checked on a GPU"
    share = "measured on one such device" if first.device.measured else "assumed, as measured on another kind"
    return [*lines, f"GiB: {memory}. Share of the peak: {share}. Price: an assumption (docs/planning.md)."]


def _parts(memory: Memory) -> list[str]:
    return [f"{getattr(memory, part) / GIB:>8.2f} GiB  {words}" for part, words in PARTS.items()]


def duration(seconds: float) -> str:
    """``40 s``, ``12 min``, ``5.3 h``, ``2.1 d``: in the unit that leaves at least two of it."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.{0 if unit == 'min' else 1}f} {unit}"
    return f"{seconds:.0f} s"
