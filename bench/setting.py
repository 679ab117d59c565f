"""What every section is given: the inputs, the peer, how often and how thoroughly to measure. Plain values."""

from dataclasses import dataclass

from bench.inputs import Inputs
from bench.uer import Uer


@dataclass(frozen=True)
class Setting:
    """Args:
    inputs: what is measured on.
    uer: the UER-py side, or why it is left out.
    rounds: how often each side is run.
    quick: whether to see only that everything runs: fewer shapes, shorter runs, smaller inputs.
    """

    inputs: Inputs
    uer: Uer | str
    rounds: int
    quick: bool
