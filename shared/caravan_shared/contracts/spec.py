"""What a team asks for: the spec of a cluster, as every door, event and store carries it.

Shape only: types, defaults and the rules that one field can break alone. What needs to know more (versions offered,
quota, other clusters) is admission's, in the api. Field names follow kubeadm's and cluster-api's where they have one.
"""

import re
from enum import StrEnum
from ipaddress import IPv4Network
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from caravan_shared.contracts.addresses import IPAddress, IPNetwork
from caravan_shared.contracts.cluster_oidc import Oidc
from caravan_shared.contracts.maintenance import Maintenance
from caravan_shared.contracts.tuning import Tuning

DNS_LABEL = r"^[a-z]([a-z0-9-]*[a-z0-9])?$"
VERSION = r"^\d+\.\d+\.\d+$"

# Node names are <cluster>-<set>-<batch>-<number>; a host name may have 63 characters (RFC 1123).
ClusterName = Annotated[str, StringConstraints(pattern=DNS_LABEL, min_length=1, max_length=32)]
NodeSetName = Annotated[str, StringConstraints(pattern=DNS_LABEL, min_length=1, max_length=16)]
TeamName = Annotated[str, StringConstraints(pattern=DNS_LABEL, min_length=1, max_length=32)]
MachineType = Annotated[str, StringConstraints(min_length=1, max_length=64)]
KubernetesVersion = Annotated[str, StringConstraints(pattern=VERSION)]
LabelKey = Annotated[
    str, StringConstraints(pattern=r"^([a-z0-9.-]{1,253}/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$")
]
LabelValue = Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?$")]

OwnCloud = Annotated[
    Annotated[str, StringConstraints(min_length=1, max_length=64)] | None,
    Field(description="The cloud that this set's machines come from; the cluster's own if none is named. Fixed."),
]


class Role(StrEnum):
    """What the nodes of a set do in their cluster."""

    CONTROL_PLANE = "control-plane"
    ETCD = "etcd"
    WORKER = "worker"


class RepairMode(StrEnum):
    """What becomes of nodes that health finds Unreachable for long."""

    AUTO = "auto"
    """They are rebooted and replaced."""
    OFF = "off"
    """They are left as they are; a person may name those to replace."""


def _off_as_yaml_reads_it(value: Any) -> Any:
    """A bare `off` is `false` in YAML 1.1, which is what most tools read."""
    return RepairMode.OFF if value is False else value


Repair = Annotated[RepairMode, BeforeValidator(_off_as_yaml_reads_it)]


class Topology(StrEnum):
    """Where etcd lives."""

    STACKED = "stacked"
    """On the control-plane nodes."""
    EXTERNAL = "external"
    """On nodes of its own, the `etcd` set."""


class Cni(StrEnum):
    """The pod network that is installed."""

    CILIUM = "cilium"
    FLANNEL = "flannel"
    NONE = "none"


class SpecModel(BaseModel):
    """Frozen, and strict about unknown fields: a misspelt field is an error, not a silent default."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    def kept(self) -> dict[str, Any]:
        """As a store keeps it: without what nobody asked for, so that a release that lacks such a field reads it."""
        return self.model_dump(mode="json", exclude_none=True)


class Taint(SpecModel):
    """A Kubernetes taint put on every node of a set."""

    key: LabelKey
    value: LabelValue = ""
    effect: Annotated[str, StringConstraints(pattern="^(NoSchedule|PreferNoSchedule|NoExecute)$")]


class ControlPlane(SpecModel):
    """The control-plane nodes."""

    count: int = Field(1, ge=1, le=99, description="How many; odd with a stacked etcd, so that it keeps its quorum.")
    machine_type: MachineType = Field("medium", description="A machine type that the cloud offers.")
    cloud: OwnCloud = None


class Etcd(SpecModel):
    """The etcd nodes of an external topology."""

    count: int = Field(3, ge=1, le=9, description="How many; odd. Beyond 7 costs more than it gives.")
    machine_type: MachineType = Field("medium", description="A machine type that the cloud offers.")
    cloud: OwnCloud = None


class WorkerSet(SpecModel):
    """N equal worker nodes."""

    name: NodeSetName = "workers"
    count: int = Field(2, ge=0, le=5000, description="How many; 0 keeps the set and removes its nodes.")
    machine_type: MachineType = Field("medium", description="A machine type that the cloud offers.")
    cloud: OwnCloud = None
    labels: dict[LabelKey, LabelValue] = Field(default_factory=dict, description="Labels put on every node.")
    taints: tuple[Taint, ...] = ()


class Network(SpecModel):
    """The cluster's own address ranges, pod network and, if any, virtual IP."""

    pod_cidr: IPNetwork = IPv4Network("10.244.0.0/16")
    service_cidr: IPNetwork = IPv4Network("10.96.0.0/16")
    dns_domain: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$", max_length=253)] = (
        "cluster.local"
    )
    cni: Cni = Cni.CILIUM
    virtual_ip: IPAddress | None = Field(
        None,
        description="A free address of the machines' network that the kube-apiserver is reached at: one control plane "
        "carries it, and another as soon as that one fails. Default: the endpoint's name follows the live control "
        "planes. Fixed when the cluster is made.",
    )


class Drain(SpecModel):
    """How nodes are emptied before they leave or are upgraded."""

    timeout_s: int = Field(300, ge=1, le=86_400, description="Seconds a node's pods may take to go elsewhere.")
    force: bool = Field(False, description="Then delete what a PodDisruptionBudget holds back, instead of failing.")


class NodeSet(SpecModel):
    """One node set as provisioner and bootstrapper see it, whatever its role."""

    name: NodeSetName
    role: Role
    count: int
    machine_type: MachineType
    cloud: str = "sandbox"
    labels: dict[str, str] = Field(default_factory=dict)
    taints: tuple[Taint, ...] = ()


CONTROL_PLANE_SET = "control-plane"
ETCD_SET = "etcd"


class ClusterSpec(SpecModel):
    """A whole cluster, as asked for. A change is a new spec under the next generation."""

    example: ClassVar[dict[str, Any]] = {
        "version": "1.34.2",
        "cloud": "sandbox",
        "control_plane": {"count": 1, "machine_type": "medium"},
        "workers": [{"name": "workers", "count": 2, "machine_type": "medium"}],
    }
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True, json_schema_extra={"examples": [example]})

    version: KubernetesVersion = Field(description="Kubernetes version, one that `GET /v1/versions` offers.")
    cloud: str = Field(
        "sandbox",
        min_length=1,
        max_length=64,
        description="The cloud its machines come from, where a set names no other.",
    )
    topology: Topology = Topology.STACKED
    control_plane: ControlPlane = ControlPlane()
    etcd: Etcd | None = Field(None, description="Only with topology `external`.")
    workers: tuple[WorkerSet, ...] = (WorkerSet(),)
    network: Network = Network()
    drain: Drain = Drain()
    oidc: Oidc | None = Field(
        None, description="An OpenID Connect provider that people sign in with. Fixed when the cluster is made."
    )
    tuning: Tuning | None = Field(None, description="Values that win over those chosen by the cluster's size.")
    maintenance: Maintenance = Field(
        Maintenance(), description="When upgrades and the renewal of certificates may begin."
    )
    repair: Repair = Field(
        RepairMode.AUTO,
        description="`off`: nodes that health finds Unreachable are neither rebooted nor replaced by themselves.",
    )
    paused: bool = Field(False, description="Nothing new is started on the cluster; what runs comes to its end.")

    @model_validator(mode="after")
    def etcd_goes_with_external_topology(self) -> "ClusterSpec":
        """An external topology without an etcd set gets the default one; a stacked one must not name any."""
        if self.topology is Topology.EXTERNAL and self.etcd is None:
            object.__setattr__(self, "etcd", Etcd())
        return self

    def node_sets(self) -> tuple[NodeSet, ...]:
        """Every set of the cluster: control plane, etcd if external, then the workers in their order."""
        sets: list[dict[str, Any]] = [
            {"name": CONTROL_PLANE_SET, "role": Role.CONTROL_PLANE, **self.control_plane.model_dump()}
        ]
        if self.topology is Topology.EXTERNAL and self.etcd:
            sets.append({"name": ETCD_SET, "role": Role.ETCD, **self.etcd.model_dump()})
        sets.extend({"role": Role.WORKER, **workers.model_dump()} for workers in self.workers)
        return tuple(NodeSet(**{**each, "cloud": each["cloud"] or self.cloud}) for each in sets)

    def clouds(self) -> tuple[str, ...]:
        """The clouds that its machines come from, the cluster's own first."""
        return tuple(dict.fromkeys([self.cloud, *(node_set.cloud for node_set in self.node_sets())]))

    def node_count(self) -> int:
        """How many nodes the cluster has when every set is full."""
        return sum(node_set.count for node_set in self.node_sets())


def minor_of(version: str) -> tuple[int, int]:
    """The (major, minor) of a Kubernetes version such as `1.34.2`."""
    match = re.match(r"^(\d+)\.(\d+)\.\d+$", version)
    if not match:
        raise ValueError(f"{version!r} is not a Kubernetes version such as 1.34.2")
    return int(match[1]), int(match[2])
