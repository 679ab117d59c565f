"""How the processes of a run meet: all there, all with the same data and options, or one error on each. Opens sockets.

They meet at a store of torch's: torchrun's, or one at MASTER_ADDR:MASTER_PORT. Torchrun keeps its store over restarts,
with what earlier processes left in it, so each process comes with a number of its own (a nonce), and rank 0 says which
belong together: a session, whose members all answer before it begins.
"""

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import timedelta

from torch.distributed import DistError, PrefixStore, Store, TCPStore

from weixing.errors import UserError

SECONDS = 18.0  # in which all must have come: with the imports before, half a minute
LOOK_SECONDS = 0.02
GRACE_SECONDS = 3.0
SESSION, REFUSED, GO = "session", "refused", "go"


@dataclass(frozen=True)
class Hello:
    """What a process says of itself.

    Attributes:
        host: its host's name.
        facts: what must be the same on all ranks, by what it is called.
        error: why it cannot take part, or "".
        nonce: told apart by this from processes that had its rank before.
    """

    host: str
    facts: Mapping[str, str]
    error: str = ""
    nonce: str = field(default_factory=lambda: uuid.uuid4().hex)


@dataclass(frozen=True)
class Session:
    """Processes that have met: a part of the store for them alone, and who they are, by rank."""

    store: Store
    members: list[Hello]


def meet(rank: int, ranks: int, hello: Hello) -> Session:
    """Meet the other processes.

    Raises:
        UserError: they do not all come in time, one cannot take part, or one has other facts than rank 0: told by all.
    """
    address = f"{os.environ.get('MASTER_ADDR', '?')}:{os.environ.get('MASTER_PORT', '?')}"
    end = time.monotonic() + SECONDS
    met: list[Session | UserError] = []
    opened = threading.Event()

    def work() -> None:
        try:
            store = _store(keeps_store(rank))
            opened.set()
            met.append(_lead(store, ranks, hello, end) if rank == 0 else _follow(store, rank, ranks, hello, end))
        except UserError as error:
            met.append(error)
        except (DistError, KeyError, ValueError) as error:
            met.append(_cannot_open(rank, address, error))
        finally:
            opened.set()

    # Something else that listens there may never answer, and torch waits for it for ever.
    thread = threading.Thread(target=work, name="weixing-meeting", daemon=True)
    thread.start()
    opened.wait(SECONDS)
    thread.join(SECONDS + GRACE_SECONDS if opened.is_set() else 0)
    result = met[0] if met else _cannot_open(rank, address, "what listens there does not answer as a run does")
    if isinstance(result, UserError):
        raise result
    return result


def keeps_store(rank: int) -> bool:
    """Whether the store is this process' own, and not the launcher's."""
    return rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"


def _store(leads: bool) -> Store:
    """Where the launcher says that all meet."""
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    return TCPStore(host, port, None, leads, timedelta(seconds=SECONDS), wait_for_workers=False)


def _lead(store: Store, ranks: int, hello: Hello, end: float) -> Session:
    """Rank 0: make sessions of those who have come, until all members of one have answered; or refuse, for all."""
    store.set("hello/0", json.dumps(asdict(hello)))
    members: list[str] = []
    session = ""
    while True:
        keys = [f"hello/{rank}" for rank in range(ranks)]
        here = [store.get(key).decode() if store.check([key]) else "" for key in keys]
        if here != members:
            members, session = here, uuid.uuid4().hex
            store.set(SESSION, json.dumps({"session": session, "members": members}))
        own = PrefixStore(session, store)
        answered = [rank for rank in range(1, ranks) if own.check([f"here/{rank}"])]
        known = [Hello(**json.loads(member)) if member else None for member in members]
        refusal = _refusal(known, answered, late=time.monotonic() > end)
        if refusal:
            own.set(REFUSED, str(refusal))
            _let_read(own, answered)
            raise refusal
        if len(answered) == ranks - 1:
            own.set(GO, "")
            return Session(own, [one for one in known if one])
        time.sleep(LOOK_SECONDS)


def _follow(store: Store, rank: int, ranks: int, hello: Hello, end: float) -> Session:
    """Other ranks: answer to every session that names this process, until one begins or is refused."""
    mine = json.dumps(asdict(hello))
    store.set(f"hello/{rank}", mine)
    session = ""
    # What rank 0 says of those who did not come is waited for.
    while time.monotonic() < end + GRACE_SECONDS:
        said = json.loads(store.get(SESSION)) if store.check([SESSION]) else {"members": []}
        if len(said["members"]) == ranks and said["members"][rank] == mine:
            own = PrefixStore(said["session"], store)
            if said["session"] != session:
                session = said["session"]
                own.set(f"here/{rank}", "")
            if own.check([REFUSED]):
                refusal = UserError(own.get(REFUSED).decode())
                own.set(f"read/{rank}", "")
                raise refusal
            if own.check([GO]):
                return Session(own, [Hello(**json.loads(member)) for member in said["members"]])
        time.sleep(LOOK_SECONDS)
    raise _not_all([0], ranks)


def _let_read(own: Store, ranks: list[int]) -> None:
    """Give the others the time to read a refusal: the store may end with this process."""
    end = time.monotonic() + GRACE_SECONDS
    while ranks and not own.check([f"read/{rank}" for rank in ranks]) and time.monotonic() < end:
        time.sleep(LOOK_SECONDS)


def _refusal(members: list[Hello | None], answered: list[int], late: bool) -> UserError | None:
    """Why those who are here cannot work together, or None."""
    here = {rank: members[rank] for rank in (0, *answered)}
    for rank, one in here.items():
        if one and one.error:
            return UserError(f"rank {rank} on {one.host}: {one.error}")
    for rank, one in here.items():
        if one and members[0] and (different := _differences(one.facts, members[0].facts)):
            return UserError(
                f"rank {rank} on {one.host} does not have what rank 0 on {members[0].host} has: {different}",
                action="Start all ranks with the same program, data and options",
            )
    return _not_all([rank for rank in range(len(members)) if rank not in here], len(members)) if late else None


def _differences(facts: Mapping[str, str], of_first: Mapping[str, str]) -> str:
    return ", ".join(
        f"{name} {facts.get(name, 'none')} (rank 0: {of_first.get(name, 'none')})"
        for name in sorted({*facts, *of_first})
        if facts.get(name) != of_first.get(name)
    )


def _not_all(missing: list[int], ranks: int) -> UserError:
    who = f"rank {missing[0]}" if len(missing) == 1 else f"ranks {', '.join(map(str, missing))}"
    return UserError(
        f"{who} of {ranks} did not come within {SECONDS:.0f} seconds",
        action="See what it says itself, and that all hosts were started with the same numbers of hosts and processes",
    )


def _cannot_open(rank: int, address: str, error: Exception | str) -> UserError:
    said = str(error).splitlines()[0]
    if "EADDRINUSE" in said:
        return UserError(
            f"rank 0 cannot listen at {address}, where another program does",
            action="Choose another port (torchrun --master-port or --rdzv-endpoint)",
        )
    return UserError(
        f"rank {rank} on {socket.gethostname()} cannot meet the others at {address}: {said}",
        action="See that rank 0 runs there, that nothing else listens at that port, and that no firewall is in between",
    )
