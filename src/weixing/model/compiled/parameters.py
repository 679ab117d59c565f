"""Parameters and gradients of a module as compiled passes take them. Pure: they work on the module's own memory."""

import platform
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor, nn

from weixing.model.compiled.buffers import Buffers, Numbers, multiply, numbers
from weixing.model.compiled.elementwise import add_numbers, convert, convert_rows

PIECE = 1 << 18  # numbers of a parameter that one core works on at a time
SHORT_GAP = 32  # rows; a run has its own cost
SHORT_INPUT = 256  # rows; of longer ones a product gains 5 % at most from a matrix in its own order


def can_pack(dtype: torch.dtype) -> bool:
    """Whether `Weights.apply` can lay matrices of `dtype` out beforehand.

    Torch has no public way to: these operators are those that its own compiler (torch._inductor's freezing) uses, and
    what is seen to work is x86.
    """
    operators = getattr(torch.ops, "mkldnn", None)
    return (
        platform.machine() in ("x86_64", "AMD64")
        and torch.backends.mkldnn.is_available()
        and all(hasattr(operators, name) for name in ("_reorder_linear_weight", "_linear_pointwise"))
        and (dtype == torch.float32 or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()))
    )


class Weights:
    """The parameters of a module for compiled passes: float32 arrays, and of matrices a copy in the products' type.

    Args:
        module: whose parameters, on the CPU; they must stay in the same memory.
        dtype: torch.bfloat16 or torch.float32 (then the copies are the parameters).
        chosen: of a matrix, by name, the rows that products take, ascending; None: all. Their copy is made anew for
            every pass (`copy_chosen`).
        constant: the parameters will not change, so that `apply` may lay them out once and for all for short inputs.
    """

    def __init__(
        self,
        module: nn.Module,
        dtype: torch.dtype,
        chosen: Mapping[str, np.ndarray | None] = MappingProxyType({}),
        constant: bool = False,
    ) -> None:
        self.parameters = dict(module.named_parameters())
        if loose := [name for name, p in self.parameters.items() if not p.is_contiguous()]:
            raise ValueError(f"parameters that are not contiguous, of which loops would change a copy: {loose}")
        self.chosen = {name: rows for name, rows in chosen.items() if rows is not None}
        self._masters = {name: numbers(p) for name, p in self.parameters.items()}
        self._copies = {
            name: p if dtype == torch.float32 or p.tensor.dim() < 2 else numbers(p.tensor.to(dtype))
            for name, p in self._masters.items()
            if name not in self.chosen
        }
        for name, rows in self.chosen.items():
            self._copies[name] = numbers(torch.empty(len(rows), self.parameters[name].shape[1], dtype=dtype))
        self._packs = constant and can_pack(dtype)
        self._packed: dict[tuple[str, int | None, int | None], Tensor] = {}

    def vector(self, name: str) -> np.ndarray:
        """The parameter itself, float32."""
        return self._masters[name].array

    def matrix(self, name: str) -> Tensor:
        """The copy that products take."""
        return self._copies[name].tensor

    def apply(self, name: str, x: Tensor, out: Numbers, rows: slice = slice(None)) -> Numbers:
        """out = x @ matrix[rows].T

        A product reads a matrix in an order of its own, and with few x most of its time goes into that order. Of
        constant matrices it is kept: a copy of each that short inputs have met.
        """
        if not self._packs or len(x) > SHORT_INPUT:
            return multiply(x, self.matrix(name)[rows].t(), out)
        packed = self._packed.get((name, rows.start, rows.stop))
        if packed is None:
            packed = torch.ops.mkldnn._reorder_linear_weight(self.matrix(name)[rows], SHORT_INPUT)
            self._packed[name, rows.start, rows.stop] = packed
        out.tensor.copy_(torch.ops.mkldnn._linear_pointwise(x, packed, None, "none", [], ""))
        return out

    @property
    def copies(self) -> dict[Tensor, np.ndarray]:
        """The copies by parameter, where they have memory of their own: to be kept equal to it."""
        return {
            p: self._copies[name].array
            for name, p in self.parameters.items()
            if self._copies[name] is not self._masters[name] and name not in self.chosen
        }

    @property
    def pieces(self) -> dict[Tensor, list[slice]]:
        """Of each parameter, flattened, what has gradients, cut small enough to be shared among cores.

        That is all of it, but of a matrix with chosen rows these alone, with short gaps between them.
        """
        found: dict[Tensor, list[slice]] = {}
        for name, p in self.parameters.items():
            rows = self.chosen.get(name, np.array([0, len(p) - 1]))
            ends = np.flatnonzero(np.diff(rows) > SHORT_GAP) if name in self.chosen else np.array([], np.int64)
            firsts, lasts = rows[np.concatenate([[0], ends + 1])], rows[np.concatenate([ends, [len(rows) - 1]])]
            width = p.numel() // len(p)
            found[p] = [
                slice(start, min(start + PIECE, int(last + 1) * width))
                for first, last in zip(firsts, lasts, strict=True)
                for start in range(int(first) * width, int(last + 1) * width, PIECE)
            ]
        return found

    def copy_chosen(self, share: int, shares: int) -> None:
        """Bring a share of the copies of chosen rows up to date."""
        for name, rows in self.chosen.items():
            part = slice(len(rows) * share // shares, len(rows) * (share + 1) // shares)
            convert_rows(self._masters[name].array, rows[part], self._copies[name].array[part])

    def refresh(self) -> None:
        """Bring all copies up to date after the parameters have changed."""
        for parameter, copy in self.copies.items():
            convert(parameter.detach().numpy(), copy)


class Gradients:
    """Sums of gradients, float32, by parameter name; they start anew with `begin`.

    Args:
        tensors: where they are summed.
        buffers: for the parts to add.
        pieces: of a parameter, flattened, all that ever has a gradient; the rest stays as it is. All where left out.
    """

    def __init__(
        self,
        tensors: dict[str, Tensor],
        buffers: Buffers,
        pieces: Mapping[str, list[slice]] = MappingProxyType({}),
    ) -> None:
        self.sums = {name: numbers(tensor) for name, tensor in tensors.items()}
        self.buffers, self._pieces = buffers, pieces
        self._fresh: set[str] = set()

    def begin(self) -> None:
        """Forget all that was summed up to now."""
        self._fresh = set(self.sums)

    def finish(self) -> None:
        """Zeros where nothing came."""
        for name in self._fresh:
            self._clear(name)
        self._fresh = set()

    def sum(self, name: str) -> np.ndarray:
        """The sum up to now, to be added to."""
        if name in self._fresh:
            self._clear(name)
            self._fresh.discard(name)
        return self.sums[name].array

    def _clear(self, name: str) -> None:
        flat = self.sums[name].array.reshape(-1)
        for part in self._pieces.get(name, [slice(None)]):
            flat[part] = 0

    def add_product(self, name: str, left: Tensor, right: Tensor, rows: slice = slice(None)) -> None:
        """Add left.T @ right to (some rows of) the gradient of a matrix."""
        part = multiply(left.t(), right, self.buffers("gradient", left.shape[1], right.shape[1]))
        whole = rows == slice(None)
        add_numbers(part.array, self.sums[name].array if whole else self.sum(name)[rows], whole and name in self._fresh)
        self._fresh.discard(name)

    def add_product_at(self, name: str, left: Tensor, right: Tensor, places: np.ndarray) -> None:
        """Add left.T @ right to the gradient's rows at `places`; where it comes first, the other rows must be 0."""
        part = multiply(left.t(), right, self.buffers("gradient", left.shape[1], right.shape[1]))
        add_numbers(part.array, self.sums[name].array, name in self._fresh, places)
        self._fresh.discard(name)
