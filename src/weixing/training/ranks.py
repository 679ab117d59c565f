"""The processes that train one model together, a rank each: what they tell each other. Opens sockets.

All of it is torch's own (`torch.distributed`): gloo between CPUs, NCCL between GPUs. One process alone is rank 0 of 1,
for which everything here does nothing.
"""

import os
import socket
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim import Optimizer

from weixing.errors import UserError
from weixing.progress import hush
from weixing.training.meeting import Hello, keeps_store, meet
from weixing.training.watch import Watch

PIECE_BYTES = 16 << 20  # of one message: while one is on its way, the next is packed
PATIENCE_SECONDS = 1800.0  # of torch itself, which must outlast the watch

Value = TypeVar("Value")


@dataclass(frozen=True)
class Ranks:
    """This process among those that train together.

    Attributes:
        rank: its number, from 0; rank 0 alone writes and speaks.
        count: of processes.
        local: its number among those of its host, which is the GPU that it takes.
        watch: sees to it that none of them stands still unseen.
    """

    rank: int = 0
    count: int = 1
    local: int = 0
    watch: Watch | None = field(default=None, compare=False)

    @property
    def first(self) -> bool:
        """Whether this is the rank that writes."""
        return self.rank == 0

    def share(self, things: int) -> slice:
        """This rank's part of so many things, all parts about the same size."""
        return slice(things * self.rank // self.count, things * (self.rank + 1) // self.count)

    def sum(self, values: Tensor) -> Tensor:
        """`values` of all ranks added up, in place, on the device that they are on."""
        if self.count > 1:
            with self._waiting():
                dist.all_reduce(values)
        return values

    def at(self, step: int, doing: str) -> None:
        """Let the others know what this rank does, at which step."""
        if self.watch:
            self.watch.at(step, doing)

    def _waiting(self) -> AbstractContextManager[None]:
        return self.watch.waiting() if self.watch else nullcontext()

    def totals(self, *numbers: float) -> list[float]:
        """Each number added up over the ranks, in float64; the same bits on every rank."""
        return self.sum(torch.tensor(numbers, dtype=torch.float64)).tolist()

    def add_up(self, arrays: Sequence[np.ndarray]) -> None:
        """Add up arrays [N] of one type over the ranks, in place, packed into messages of PIECE_BYTES."""
        if self.count == 1:
            return
        underway: list[tuple[dist.Work, Tensor, list[np.ndarray]]] = []
        for some in _packs(arrays, PIECE_BYTES // 4):
            flat = torch.from_numpy(np.concatenate(some))
            work = dist.all_reduce(flat, async_op=True)
            assert work is not None
            underway.append((work, flat, some))
        for work, flat, some in underway:
            with self._waiting():
                work.wait()
            summed, at = flat.numpy(), 0
            for array in some:
                array[:] = summed[at : at + len(array)]
                at += len(array)

    def given(self, value: Value) -> Value:
        """Rank 0's `value` on every rank: anything that can be pickled, its tensors sent as they are."""
        if self.count == 1:
            return value
        tensors: list[Tensor] = []

        def taken_out(tensor: Tensor) -> _Place:
            tensors.append(tensor)
            return _Place(tensor.shape, tensor.dtype)

        message = [_replaced(value, Tensor, taken_out) if self.first else None]
        with self._waiting():
            dist.broadcast_object_list(message, src=0)
        sent = iter(tensors)

        def put_in(place: _Place) -> Tensor:
            own = next(sent) if self.first else torch.empty(place.shape, dtype=place.dtype)
            with self._waiting():
                dist.broadcast(own.detach().cpu().contiguous() if self.first else own, src=0)
            return own

        return _replaced(message[0], _Place, put_in)

    def together(self, work: Callable[[], Value]) -> Value:
        """Do `work` on every rank; what goes wrong on one of them is raised on all.

        Raises:
            UserError: what a rank's work raised, with the rank that it was.
        """
        if self.count == 1:
            return work()
        value, error = None, None
        try:
            value = work()
        except (UserError, OSError) as raised:
            error = raised
        whats: list[tuple[str, str] | None] = [None] * self.count
        with self._waiting():
            dist.all_gather_object(whats, (socket.gethostname(), str(error)) if error else None)
        for rank, what in enumerate(whats):
            if what:
                host, said = what
                raise UserError(f"rank {rank} on {host}: {said}") from None
        return value  # type: ignore[return-value]  # there was no error

    def by_first(self, work: Callable[[], Value]) -> Value:
        """What `work` gives on rank 0, which alone does it, on every rank; the others wait.

        Raises:
            UserError: what it raised there.
        """
        return self.given(self.together(lambda: work() if self.first else None))  # type: ignore[return-value]

    def follow_first(self, model: nn.Module, optimizers: Sequence[Optimizer] = ()) -> None:
        """Give model and optimizers the state that they have on rank 0."""
        if self.count == 1:
            return
        states = self.given((model.state_dict(), [optimizer.state_dict() for optimizer in optimizers]))
        if not self.first:
            model.load_state_dict(states[0])
            for optimizer, state in zip(optimizers, states[1], strict=True):
                optimizer.load_state_dict(state)


ALONE = Ranks()


@dataclass(frozen=True)
class _Place:
    """Where a tensor goes in something that is sent."""

    shape: torch.Size
    dtype: torch.dtype


def _replaced(value: Any, kind: type, replace: Callable[[Any], Any]) -> Any:
    """`value`, in whose dictionaries, lists and tuples things of one kind are replaced."""
    if isinstance(value, kind):
        return replace(value)
    if type(value) in (dict, OrderedDict):
        return {key: _replaced(of_key, kind, replace) for key, of_key in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_replaced(item, kind, replace) for item in value)
    return value


def _packs(arrays: Sequence[np.ndarray], most: int) -> Iterator[list[np.ndarray]]:
    """Runs of the arrays, of about `most` numbers together."""
    some: list[np.ndarray] = []
    size = 0
    for array in arrays:
        if some and size + len(array) > most:
            yield some
            some, size = [], 0
        some.append(array)
        size += len(array)
    if some:
        yield some


@contextmanager
def joined(facts: Callable[[Ranks], Mapping[str, str]], stall_seconds: float) -> Iterator[Ranks]:
    """Within the context, this process is one of those that were launched together (torchrun), or one alone.

    Args:
        facts: what must be the same on all ranks (`weixing.training.facts`), ``device`` among them.
        stall_seconds: how long no rank may move before all end.

    Raises:
        UserError: the others cannot be reached, `facts` raises one on any rank, or facts differ.
        RanksError: another rank has ended.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield ALONE
        return
    ranks = Ranks(int(os.environ["RANK"]), count, int(os.environ.get("LOCAL_RANK", "0")))
    if not ranks.first:
        hush()
    session = meet(ranks.rank, count, _hello(facts, ranks))
    on_gpus = session.members[0].facts["device"] == "cuda"
    hosts = [member.host for member in session.members]
    with Watch(ranks.rank, hosts, session.store, stall_seconds, keeps_store(ranks.rank)) as watch:
        try:
            dist.init_process_group(
                "cpu:gloo,cuda:nccl" if on_gpus else "gloo", store=session.store, rank=ranks.rank, world_size=count,
                timeout=timedelta(seconds=max(PATIENCE_SECONDS, 2 * stall_seconds)),
            )  # fmt: skip
            yield replace(ranks, watch=watch)
        except BaseException as error:
            if (explained := watch.explained(error)) is not error:
                raise explained from error
            raise
        dist.destroy_process_group()


def _hello(facts: Callable[[Ranks], Mapping[str, str]], ranks: Ranks) -> Hello:
    try:
        return Hello(socket.gethostname(), facts(ranks))
    except (UserError, OSError) as error:
        return Hello(socket.gethostname(), {}, str(error))
