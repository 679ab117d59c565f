"""Ray clusters: tasks on several machines, which Ray runs again elsewhere if their process or machine is lost.

Opens connections. Ray is an extra; weixing must be installed on every machine of the cluster.
"""

import logging
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

from weixing.errors import UserError

SECONDS_TO_ANSWER = 10.0
TRIES = 5  # of a task whose machine or process is lost


@contextmanager
def connection(address: str) -> Iterator[Any]:
    """Ray, connected to a cluster; what runs there for this process ends with the context.

    Args:
        address: ``auto`` for the cluster that this machine is of (or RAY_ADDRESS), or ``host:port``.

    Raises:
        UserError: Ray is not installed, or there is no such cluster.
    """
    try:
        import ray
    except ImportError as error:
        raise UserError(f"a cluster needs the library ray ({error})", action="pip install 'weixing[ray]'") from None
    terminate = signal.getsignal(signal.SIGTERM)
    try:
        if address != "auto":
            host, _, port = address.removeprefix("ray://").rpartition(":")
            socket.create_connection((host, int(port)), SECONDS_TO_ANSWER).close()  # Ray itself would try for minutes
        ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(
            f"there is no cluster at {address!r}: {str(error).splitlines()[0]}",
            where="--ray",
            accepted="auto or host:port",
            action="Start one: ray start --head, and on the other machines ray start --address HOST:PORT",
        ) from None
    with redirect_stdout(sys.stderr):  # Ray tells on stdout of machines that are lost, some of it as it is shut down
        try:
            signal.signal(signal.SIGTERM, terminate)  # Ray puts its own in the place
            yield ray
        finally:
            ray.shutdown()


def reason_of(error: Exception) -> str:
    """What an error of Ray's says, in a line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
