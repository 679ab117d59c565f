"""What every section is given: the inputs, the peer, how often and how thoroughly to measure. Plain values."""

from dataclasses import dataclass

from bench.inputs import Inputs
from bench.uer import Uer

NO_BF16 = "the processor has no bf16 instructions"


@dataclass(frozen=True)
class Setting:
    """Args:
    inputs: what is measured on.
    uer: the UER-py side, or why it is left out.
    rounds: how often each side is run.
    bf16: whether the processor multiplies bf16 matrices; else what needs it is left out.
    quick: whether to see only that everything runs: fewer shapes, shorter runs, smaller inputs.
    """

    inputs: Inputs
    uer: Uer | str
    rounds: int
    bf16: bool
    quick: bool
