"""A virtual IP: an address that a control plane can carry on its cloud, and that nobody else has.

Whether a machine that is none of ours has the address already, only the cluster's own machines can see, when they
come up.
"""

from collections.abc import Iterator

from caravan_api.admission.surroundings import Surroundings
from caravan_shared.contracts.addresses import IPNetwork
from caravan_shared.contracts.facts import FieldProblem
from caravan_shared.contracts.spec import ClusterSpec

FIELD = "spec.network.virtual_ip"
RIGHT = "use a free address of the network that the machines are in"


def virtual_ip_problems(spec: ClusterSpec, around: Surroundings) -> Iterator[FieldProblem]:
    """What keeps a control plane from carrying the address."""
    address = spec.network.virtual_ip
    if address is None:
        return
    if address.is_unspecified or address.is_loopback or address.is_multicast or address.is_link_local:
        yield _problem(f"{address} is an address that no machine can be reached at", RIGHT)
        return
    for name, network in (("pod", spec.network.pod_cidr), ("service", spec.network.service_cidr)):
        if address in network:
            yield _problem(f"{address} lies in the {name} range {network}, where no machine is", RIGHT)
    if around.current is None:
        yield from _not_to_be_had(spec, around)


def virtual_ip_taken(address: object, cloud: object) -> FieldProblem:
    """The problem of an address that another live cluster on the cloud has."""
    return _problem(
        f"{address} is the virtual IP of another cluster on the cloud {cloud}",
        "use another free address, or wait until that cluster is gone",
    )


def virtual_ip_fixed(spec: ClusterSpec, current: ClusterSpec) -> Iterator[FieldProblem]:
    """A cluster's nodes, certificates and kubeconfigs know it by the address it was made with."""
    before, after = current.network.virtual_ip, spec.network.virtual_ip
    if before != after:
        stays = f"leave it at {before}" if before else "leave it out"
        yield _problem("the virtual IP of a cluster cannot change", f"{stays}, or create another cluster")


def _not_to_be_had(spec: ClusterSpec, around: Surroundings) -> Iterator[FieldProblem]:
    cloud = spec.node_sets()[0].cloud  # the control plane's
    address, offer = spec.network.virtual_ip, around.clouds.get(cloud)
    if address is None or offer is None:
        return
    if not offer.virtual_ips:
        simulated = ": its machines are simulated, and share no network" if offer.simulated else ""
        yield _problem(f"machines of the cloud {cloud} can carry none{simulated}", _elsewhere(around))
    elif not any(address in network for network in offer.virtual_ips):
        offered = _listed(offer.virtual_ips)
        yield _problem(f"the cloud {cloud} has no machines in the network of {address}", f"use one of {offered}")
    if (cloud, address) in around.virtual_ips_taken:
        yield virtual_ip_taken(address, cloud)


def _elsewhere(around: Surroundings) -> str:
    able = sorted(name for name, offer in around.clouds.items() if offer.virtual_ips)
    return f"leave it out, or use the cloud {' or '.join(able)}" if able else "leave it out"


def _listed(networks: tuple[IPNetwork, ...]) -> str:
    return ", ".join(map(str, networks))


def _problem(problem: str, remedy: str) -> FieldProblem:
    return FieldProblem(field=FIELD, problem=problem, remedy=remedy)
