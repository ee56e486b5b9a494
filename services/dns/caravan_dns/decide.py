"""Decide which addresses a cluster's endpoint and its name have. Pure: no network, no clock, no store."""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address

from caravan_shared.contracts.states import Verdict


@dataclass(frozen=True)
class ControlPlaneNode:
    """What is known of one control-plane node, from whichever services have told so far."""

    name: str
    address: str | None = None
    """None until the provisioner or the bootstrapper has named it."""
    joined: bool = False
    leaving: bool = False
    """True from the wish to remove it on; it never turns back, since names are never used again."""
    verdict: Verdict = Verdict.UNKNOWN


def endpoint_addresses(nodes: Iterable[ControlPlaneNode], first_node: str | None) -> tuple[str, ...]:
    """The addresses of the control planes that the endpoint shall lead to, in numeric order.

    A node serves once it has joined; the first one as soon as kubeadm starts on it, because the cluster is made through
    the endpoint. A node that leaves no longer serves, and neither does one that health calls Unreachable: unless that
    would leave none, for then the fault may be the monitor's path, and a stale address is better than no address.
    """
    serving = [node for node in nodes if node.address and not node.leaving and (node.joined or node.name == first_node)]
    reachable = [node for node in serving if node.verdict is not Verdict.UNREACHABLE]
    addresses = {node.address for node in reachable or serving if node.address}
    return tuple(sorted(addresses, key=_numeric))


def record_addresses(control_planes: tuple[str, ...], virtual_ip: str | None) -> tuple[str, ...]:
    """The addresses that the endpoint's name shall have: a virtual IP stays, whichever control plane carries it."""
    return (virtual_ip,) if virtual_ip else control_planes


def _numeric(address: str) -> tuple[int, int]:
    parsed = ip_address(address)
    return parsed.version, int(parsed)
