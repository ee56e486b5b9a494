"""Where a local stack listens and which secrets it uses: chosen at its first start, kept in `stack.json`.

Chosen ports lie below the range from which Linux takes the ports of outgoing connections (32768 and up), so that
none of them is taken while a service restarts.
"""

import json
import os
import secrets
import socket
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from caravan_cli.up.errors import StackError, StackTaken

FILE = "stack.json"
LOOPBACK = "127.0.0.1"
TEAM = "default"
"""The team that a local stack has from the start."""
_LOWEST_PORT, _HIGHEST_PORT = 20_000, 32_000
_NETWORKS = range(65, 127)  # second byte of 127.N.0.0/16 for stacks beside the usual one, which has 64
_TRIES = 50
_FORMERLY = ("nats_password", "nats_system_password", "team_password")  # kept with the accounts since


@dataclass(frozen=True)
class Ports:
    """One port a part, on loopback. `zone` is DNS, UDP and TCP."""

    nats: int = 4222
    api: int = 8780
    provisioner: int = 8781
    bootstrapper: int = 8782
    health: int = 8783
    dns: int = 8784
    sandbox: int = 8790
    zone: int = 15353

    def moved_by(self, offset: int) -> "Ports":
        """The same ports, each higher by `offset`."""
        return Ports(**{name: port + offset for name, port in asdict(self).items()})

    def taken(self) -> dict[str, int]:
        """Those that somebody listens on now."""
        return {name: port for name, port in asdict(self).items() if not is_free(port, udp=name == "zone")}

    @classmethod
    def free(cls) -> "Ports":
        """Ports side by side that nobody listens on now. StackError where none are found."""
        count = len(fields(cls))
        for _ in range(_TRIES):
            first = _LOWEST_PORT + secrets.randbelow(_HIGHEST_PORT - _LOWEST_PORT - count)
            ports = cls(*range(first, first + count))
            if not ports.taken():
                return ports
        raise StackError("No free ports were found for a local stack.")


@dataclass(frozen=True)
class Layout:
    """All that makes one stack differ from another beside it."""

    ports: Ports = Ports()
    network: str = "127.64.0.0/16"
    api_token: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    sandbox_token: str = field(default_factory=lambda: secrets.token_urlsafe(16), repr=False)

    @property
    def api_url(self) -> str:
        """Where the REST API answers."""
        return f"http://{LOOPBACK}:{self.ports.api}"

    @property
    def sandbox_url(self) -> str:
        """Where the simulated cloud answers."""
        return f"http://{LOOPBACK}:{self.ports.sandbox}"


def load(state_dir: Path) -> Layout | None:
    """The layout of earlier starts; None before the first. StackError where the file is broken."""
    path = state_dir / FILE
    try:
        content = json.loads(path.read_text())
        for name in _FORMERLY:
            content.pop(name, None)
        return Layout(**{**content, "ports": Ports(**content["ports"])})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise StackError(f"{path} is not what `caravan up` wrote ({error}). Mend or remove it.") from error


def save(state_dir: Path, layout: Layout) -> None:
    """Keep the layout, readable by its owner alone."""
    draft = state_dir / f"{FILE}.new"
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(asdict(layout), file, indent=2)
    draft.replace(state_dir / FILE)


def is_free(port: int, *, udp: bool) -> bool:
    """True where nobody listens on that port of loopback now, by TCP nor, with `udp`, by UDP."""
    kinds = [socket.SOCK_STREAM, socket.SOCK_DGRAM] if udp else [socket.SOCK_STREAM]
    for kind in kinds:
        with socket.socket(type=kind) as trial:
            if kind is socket.SOCK_STREAM:
                # As servers do: the remains of closed connections are no reason to refuse.
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind((LOOPBACK, port))
            except (OSError, OverflowError):
                return False
    return True


def claim_network(network: str | None) -> tuple[str, socket.socket]:
    """Take a network for the sandbox's machines: this one, or (None) any that no other stack has.

    The claim is a listening socket on the network's last address; it ends with the process, however that ends.
    """
    for candidate in [network] if network else list(_shuffled_networks()):
        claim = _claim(candidate)
        if claim:
            return candidate, claim
    wanted = f"The network {network}" if network else "Every network 127.N.0.0/16"
    raise StackTaken(f"{wanted} is used by another local stack. Choose one with --network, or use --ports auto.")


def _claim(network: str) -> socket.socket | None:
    first, second = network.split(".")[:2]
    claim = socket.socket()
    try:
        claim.bind((f"{first}.{second}.255.254", _LOWEST_PORT))
        claim.listen(1)
    except OSError:
        claim.close()
        return None
    return claim


def _shuffled_networks() -> Iterator[str]:
    numbers = list(_NETWORKS)
    while numbers:
        yield f"127.{numbers.pop(secrets.randbelow(len(numbers)))}.0.0/16"
