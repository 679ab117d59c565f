"""The sheet of devices: peaks, memory, prices, achieved shares. Reads devices.json beside it, once.

A device is a GPU, or one core of a processor. Where the sheet has no shares of its own for a device, those of another
one are assumed; `Device.measured` tells. Prices are assumptions.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import pairwise

from weixing.errors import UserError
from weixing.training.devices import Precision

GIB = 1 << 30


@dataclass(frozen=True)
class Device:
    """One kind of device.

    Args:
        kind: what the command line calls it.
        name: in words.
        memory_gib: of a GPU, as drivers report it, rounded down; of a core, its usual share of the machine's.
        peak_tflops: dense matrix products, by precision, as the vendor gives it (of a core: measured).
        usd_per_hour: an assumption.
        link_gb_per_second: to the other GPUs, one direction; None: a core.
        shares: of the peak, by hidden units, that pretraining reaches (`weixing.planning.time`).
        update_seconds: what an update takes however small it is.
        measured: whether `shares` and `update_seconds` were measured on this kind.
    """

    kind: str
    name: str
    memory_gib: float
    peak_tflops: Mapping[str, float]
    usd_per_hour: float
    link_gb_per_second: float | None
    shares: Mapping[int, float]
    update_seconds: float
    measured: bool

    @property
    def is_core(self) -> bool:
        """Whether it is a core of a processor: cores of a machine share one process and its memory."""
        return self.link_gb_per_second is None

    @property
    def precision(self) -> Precision:
        """The one that `pretrain` picks by itself: bf16 where the hardware has it."""
        return "bf16" if "bf16" in self.peak_tflops else "float32"

    def share(self, hidden: int) -> float:
        """Of the peak, that a model of so many hidden units reaches; between the sheet's widths by their logarithms."""
        widths = sorted(self.shares)
        if hidden <= widths[0]:
            return self.shares[widths[0]]
        for low, high in pairwise(widths):
            if hidden <= high:
                at = math.log(hidden / low) / math.log(high / low)
                return self.shares[low] + at * (self.shares[high] - self.shares[low])
        return self.shares[widths[-1]]


@cache
def devices() -> dict[str, Device]:
    """All of the sheet, by kind."""
    rows = json.loads(files("weixing.planning").joinpath("devices.json").read_text(encoding="utf-8"))["devices"]
    return {kind: _device(kind, row, rows[row["shares_from"]]) for kind, row in rows.items()}


def device_called(kind: str) -> Device:
    """The device of that kind.

    Raises:
        UserError: the sheet has none.
    """
    if kind not in devices():
        raise UserError(f"no device is called {kind!r}", where="--device", accepted=", ".join(devices()))
    return devices()[kind]


def _device(kind: str, row: dict, origin: dict) -> Device:
    return Device(
        kind=kind,
        name=row["name"],
        memory_gib=row["memory_gib"],
        peak_tflops=row["peak_tflops"],
        usd_per_hour=row["usd_per_hour"],
        link_gb_per_second=row.get("link_gb_per_second"),
        shares={int(width): share for width, share in origin["shares"].items()},
        update_seconds=origin.get("update_seconds", 0.0),
        measured=row is origin,
    )
