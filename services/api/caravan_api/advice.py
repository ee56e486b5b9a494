"""What would be wise for a cluster of this size and is its team's to choose: machines, members, topology. Pure.

Nothing here refuses a request. Tuning needs no advice: it is chosen by size, and the plan shows it.
"""

from collections.abc import Iterator

from caravan_shared.contracts.events import CloudOffered
from caravan_shared.contracts.presets import effective
from caravan_shared.contracts.spec import ClusterSpec, Topology

EXTERNAL_ETCD_FROM = 500
"""Nodes from which etcd should not share disk and CPU with kube-apiservers."""
SEVERAL_CONTROL_PLANES_FROM = 100
"""Nodes for which one control plane is too little to lose."""
ETCD_MEMBERS_AT_MOST = 7
"""Each member more makes every write slower; from here on it saves nothing. https://etcd.io/docs/v3.6/faq/"""
PODS_AT_MOST = 150_000
"""To which Kubernetes is tested: https://kubernetes.io/docs/setup/best-practices/cluster-large/"""
DEFAULT_MAX_PODS = 110
CONTROL_PLANE_SIZES = ((500, 32, 120), (100, 16, 60), (50, 8, 30))
"""(nodes above, CPUs, memory GiB) of a control-plane machine; the kube-apiserver's caches grow with nodes and pods.
CPUs as Kubernetes' own scripts choose them, with the memory that such machines have:
https://github.com/kubernetes/kubernetes/blob/v1.34.2/cluster/gce/config-common.sh"""


def advice(spec: ClusterSpec, current: ClusterSpec | None, offer: CloudOffered | None) -> list[str]:
    """One sentence for each thing that would be wise."""
    return [*_members(spec), *_machines(spec, offer), *_pods(spec), *_grown(spec, current)]


def _members(spec: ClusterSpec) -> Iterator[str]:
    nodes, external = spec.node_count(), spec.topology is Topology.EXTERNAL
    if nodes >= SEVERAL_CONTROL_PLANES_FROM and spec.control_plane.count == 1:
        yield f"{nodes} nodes hang on one control plane: use 3, so that it can fail or be upgraded unnoticed."
    if nodes >= EXTERNAL_ETCD_FROM and not external:
        yield (
            f"From {EXTERNAL_ETCD_FROM} nodes on etcd wants disks and CPUs of its own, and events an etcd apart: "
            "use topology external. An existing cluster cannot change its topology."
        )
    if spec.network.virtual_ip and spec.control_plane.count == 1:
        yield f"{spec.network.virtual_ip} can go nowhere from one control plane: use 3, so that another can carry it."
    voters = spec.etcd.count if external and spec.etcd else spec.control_plane.count
    if voters > ETCD_MEMBERS_AT_MOST:
        more = "" if external else ", with topology external, where control planes may be more"
        yield f"{voters} etcd members are slower than 5 and no safer: use 3, 5 or {ETCD_MEMBERS_AT_MOST}{more}."
    if external and voters == 1 and nodes >= SEVERAL_CONTROL_PLANES_FROM:
        yield f"{nodes} nodes hang on one etcd node: use 3."


def _machines(spec: ClusterSpec, offer: CloudOffered | None) -> Iterator[str]:
    offered = {each.name: each for each in offer.machine_types} if offer else {}
    machine, nodes = offered.get(spec.control_plane.machine_type), spec.node_count()
    wise = next((size for size in CONTROL_PLANE_SIZES if nodes > size[0]), None)
    if machine and wise and (machine.cpus < wise[1] or machine.memory_mib < wise[2] * 1024):
        yield (
            f"Control planes of {nodes} nodes want about {wise[1]} CPUs and {wise[2]} GiB each, and {machine.name} has "
            f"{machine.cpus} and {machine.memory_mib / 1024:.0f}."
        )


def _pods(spec: ClusterSpec) -> Iterator[str]:
    max_pods = effective(spec).kubelet_max_pods or DEFAULT_MAX_PODS
    pods = max_pods * sum(workers.count for workers in spec.workers)
    if pods > PODS_AT_MOST:
        yield f"{max_pods} on every worker are room for {pods:,} pods, and Kubernetes is tested to {PODS_AT_MOST:,}."


def _grown(spec: ClusterSpec, current: ClusterSpec | None) -> Iterator[str]:
    if current is None:
        return
    then, now = effective(current), effective(spec)
    names = [name for name in type(now).model_fields if getattr(then, name) != getattr(now, name)]
    if names:
        yield f"Its new size would have it set otherwise ({', '.join(names)}); what runs already keeps what it has."
