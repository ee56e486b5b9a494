"""A cluster's own address ranges: apart from each other, of one family, and with room for its nodes.

Sizes follow kubeadm and kube-controller-manager: a node gets a /24 (IPv6: /64) of the pod range, and service
ranges have at most 20 bits for hosts: https://kubernetes.io/docs/reference/command-line-tools-reference/kube-controller-manager/
"""

from collections.abc import Iterator

from caravan_shared.contracts.addresses import IPNetwork
from caravan_shared.contracts.facts import FieldProblem
from caravan_shared.contracts.spec import ClusterSpec

NODE_PREFIX = {4: 24, 6: 64}
# kube-controller-manager refuses a pod range that is more than 16 bits wider than a node's share.
POD_BITS = 16
SERVICE_BITS_AT_MOST = 20
# kubeadm wants room for at least ten services: /28.
SERVICE_BITS_AT_LEAST = 4


def network_problems(spec: ClusterSpec) -> Iterator[FieldProblem]:
    """What is wrong with the pod and service ranges."""
    pods, services = spec.network.pod_cidr, spec.network.service_cidr
    if pods.version != services.version:
        yield FieldProblem(
            field="spec.network.service_cidr",
            problem=f"{services} is IPv{services.version} and the pod range {pods} is IPv{pods.version}",
            remedy="use the same family for both",
        )
    elif pods.overlaps(services):
        yield FieldProblem(
            field="spec.network.service_cidr",
            problem=f"{services} overlaps the pod range {pods}",
            remedy="use ranges that share no address, such as 10.244.0.0/16 and 10.96.0.0/16",
        )
    yield from _usable(pods, "spec.network.pod_cidr")
    yield from _usable(services, "spec.network.service_cidr")
    yield from _room_for_nodes(pods, spec.node_count())
    yield from _service_size(services)


def nodes_that_fit(pods: IPNetwork) -> int:
    """How many nodes can get a share of a pod range."""
    return (
        int(2 ** max(NODE_PREFIX[pods.version] - pods.prefixlen, 0))
        if pods.prefixlen <= NODE_PREFIX[pods.version]
        else 0
    )


def _usable(network: IPNetwork, field: str) -> Iterator[FieldProblem]:
    if network.is_multicast or network.is_loopback or network.is_link_local or network.is_unspecified:
        yield FieldProblem(
            field=field,
            problem=f"{network} is a range that no host can be given",
            remedy="use a private range, such as one within 10.0.0.0/8",
        )


def _room_for_nodes(pods: IPNetwork, nodes: int) -> Iterator[FieldProblem]:
    share = NODE_PREFIX[pods.version]
    if pods.prefixlen < share - POD_BITS:
        yield FieldProblem(
            field="spec.network.pod_cidr",
            problem=f"{pods} is wider than Kubernetes can split among nodes",
            remedy=f"use a prefix of at least /{share - POD_BITS}",
        )
    elif nodes_that_fit(pods) < nodes:
        enough = share - (nodes - 1).bit_length()
        yield FieldProblem(
            field="spec.network.pod_cidr",
            problem=f"{pods} has room for {nodes_that_fit(pods)} nodes (a /{share} each), and the cluster has {nodes}",
            remedy=f"use a prefix of /{enough} or shorter",
        )


def _service_size(services: IPNetwork) -> Iterator[FieldProblem]:
    longest = services.max_prefixlen - SERVICE_BITS_AT_LEAST
    shortest = services.max_prefixlen - SERVICE_BITS_AT_MOST
    if not shortest <= services.prefixlen <= longest:
        yield FieldProblem(
            field="spec.network.service_cidr",
            problem=f"{services} is too {'wide' if services.prefixlen < shortest else 'narrow'} for services",
            remedy=f"use a prefix between /{shortest} and /{longest}",
        )
