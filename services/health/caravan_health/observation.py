"""What one look at a kube-apiserver can come to. Values only: how to look is `probe`, what to believe is `verdict`."""

from dataclasses import dataclass
from enum import StrEnum

from caravan_shared.contracts.states import Verdict


class Kind(StrEnum):
    """The ways a question to /readyz ends."""

    OK = "ok"
    """200, and every check passed. `detail` says what is wrong on the way to it, if anything is."""
    DNS = "dns"
    """The endpoint's name does not resolve."""
    REFUSED = "refused"
    """The connection was refused, reset, or has no host at its end."""
    TLS = "tls"
    """Whoever answers does not hold a certificate of the cluster's CA for the endpoint's name."""
    AUTH = "auth"
    """401, 403 or a TLS alert about our certificate: our credentials, not the cluster's health."""
    TIMEOUT = "timeout"
    """No whole answer in time."""
    SERVER_ERROR = "server_error"
    """429 or 5xx without a list of checks, as overload or a gateway in front gives."""
    COMPONENT_NOT_READY = "component_not_ready"
    """The kube-apiserver answers and names the checks that fail."""
    REDIRECT = "redirect"
    """3xx: no kube-apiserver does that; followed nowhere."""
    GARBAGE = "garbage"
    """An answer that no kube-apiserver gives."""
    MONITOR_UNFIT = "monitor_unfit"
    """The monitor itself was in trouble: the look says nothing about the cluster."""


MISSES = frozenset({Kind.DNS, Kind.REFUSED, Kind.TLS, Kind.TIMEOUT, Kind.REDIRECT, Kind.GARBAGE})
"""No kube-apiserver of this cluster answered."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What one look came to, at one address or at all of a cluster's.

    `detail` is a phrase for people. It holds no measured numbers, so that equal troubles read equal.
    """

    kind: Kind
    detail: str = ""
    components: tuple[str, ...] = ()

    @property
    def is_miss(self) -> bool:
        """Nobody answered as this cluster's kube-apiserver would."""
        return self.kind in MISSES


@dataclass(frozen=True, slots=True)
class NodeReading:
    """What a kube-apiserver says of one of its nodes."""

    name: str
    verdict: Verdict
    reason: str
    ready: bool
    """Its Ready condition is True; a node under pressure is Degraded and ready."""


@dataclass(frozen=True, slots=True)
class PodReading:
    """What a kube-apiserver says of a pod in `kube-system`."""

    node: str
    """Where it was put; empty where it was not yet."""
    ready: bool
    serves_dns: bool
