"""Ports of loopback for what a test starts. Between the choice and the start another worker of the run may choose as
well, so each worker has ports of its own.

They lie below those that local stacks choose for themselves (20,000 and up), and all those below the ones that the
kernel gives to outgoing connections.
"""

import os
import random
import socket
from functools import cache
from itertools import cycle, islice

from caravan_cli.up.layout import LOOPBACK, is_free

_LOWEST_PORT, _A_WORKER, _WORKERS = 10_000, 500, 20


def free_port() -> int:
    """A port that nobody listens on now, by TCP or UDP; StopIteration where all of this worker are taken."""
    return next(port for port in islice(_own_ports(), _A_WORKER) if is_free(port, udp=True))


def accepts(port: int, host: str = LOOPBACK) -> bool:
    """Whether something accepts connections on this port of this machine."""
    with socket.socket() as client:
        return client.connect_ex((host, port)) == 0


@cache
def _own_ports() -> "cycle[int]":
    """This worker's, over and over; begun anywhere, as other runs on this machine have a worker of the same number."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _WORKERS
    first, begun = _LOWEST_PORT + worker * _A_WORKER, random.randrange(_A_WORKER)
    own = range(first, first + _A_WORKER)
    return cycle([*own[begun:], *own[:begun]])
