"""Ports of loopback for what a test starts. Between the choice and the start another worker of the run may choose as
well, so each worker has ports of its own.

They lie below those that local stacks choose for themselves (20,000 and up), and all those below the ones that the
kernel gives to outgoing connections.
"""

import os
import random
import socket
from functools import cache
from itertools import cycle

_LOWEST_PORT, _A_WORKER, _WORKERS = 10_000, 500, 20
_LOOPBACK = "127.0.0.1"


def free_port() -> int:
    """A port that nobody listens on now, by TCP or UDP."""
    return next(port for port in _own_ports() if _is_free(port))


def accepts(port: int, host: str = _LOOPBACK) -> bool:
    """Whether something accepts connections on this port of this machine."""
    with socket.socket() as client:
        return client.connect_ex((host, port)) == 0


@cache
def _own_ports() -> "cycle[int]":
    """This worker's, over and over; begun anywhere, as other runs on this machine have a worker of the same number."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _WORKERS
    first, begun = _LOWEST_PORT + worker * _A_WORKER, random.randrange(_A_WORKER)
    return cycle([*range(first + begun, first + _A_WORKER), *range(first, first + begun)])


def _is_free(port: int) -> bool:
    with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # the remains of closed connections take nothing
        try:
            tcp.bind((_LOOPBACK, port))
            udp.bind((_LOOPBACK, port))
        except OSError:
            return False
    return True
