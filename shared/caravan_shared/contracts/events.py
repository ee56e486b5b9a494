"""Every fact that services tell each other, and teams: one class an event, its subject and an example beside it.

The subject is the contract's name; nobody spells it by hand. A field is only ever added; what breaks readers becomes a
new `schema_version`. What is a `ProgressEvent` is told to its team and heard by no service (`public` has the whole
conversation with teams). On the wire the body is JSON and the CloudEvents 1.0 attributes travel as headers (see
`plumbing.envelope`).
"""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from pydantic import Field

from caravan_shared.contracts.addresses import IPNetwork
from caravan_shared.contracts.facts import (
    CloudQuota,
    ClusterEvent,
    Event,
    FailedNode,
    FieldProblem,
    HeldNode,
    NodeRef,
    NodeVerdict,
    OfferedMachineType,
    ProgressEvent,
    ReadyNode,
    WhoCanFix,
)
from caravan_shared.contracts.machines import MachineNow, MachineToWork, MachineWork, WorkedMachine
from caravan_shared.contracts.spec import ClusterName, ClusterSpec, TeamName
from caravan_shared.contracts.states import ClusterPhase, Verdict

_CLUSTER = "0190f6f0-5b7c-7000-8000-000000000001"
_RUN = "0190f6f0-5b7c-7000-8000-000000000002"
_NODE = {"name": "demo-workers-k3x9-1", "node_set": "workers"}

# --- api: what is wanted -------------------------------------------------------------------------------------------


class ClusterRequested(ClusterEvent):
    """A cluster is wanted as this spec says: said on create, on every change, and again until it is so.

    `generation` counts changes of the spec. `announcement` counts the tellings: a service that hears a higher one says
    its own facts about the cluster again, so that whatever got lost on the way is healed.
    """

    subject: ClassVar[str] = "cluster.requested"
    example: ClassVar[dict[str, Any]] = {
        "cluster_id": _CLUSTER,
        "team": "default",
        "name": "demo",
        "generation": 1,
        "announcement": 1,
        "spec": ClusterSpec.example,
    }
    team: TeamName
    name: ClusterName
    generation: int = Field(ge=1)
    announcement: int = Field(ge=1)
    spec: ClusterSpec
    retry: int = Field(0, ge=0, description="Counts retries by a person: a higher one lifts earlier failures.")
    replace: tuple[str, ...] = Field((), description="Names of nodes to be replaced; each until it is gone.")
    asleep: bool = Field(False, description="Its machines shall be stopped, and nothing else be done for it.")
    power_generation: int = Field(0, ge=0, description="Counts how often it was put to sleep or woken.")


class ClusterDeletionRequested(ClusterEvent):
    """A cluster is no longer wanted; said again until all of it is gone. Outlives every `cluster.requested`."""

    subject: ClassVar[str] = "cluster.deletion_requested"
    example: ClassVar[dict[str, Any]] = {
        "cluster_id": _CLUSTER,
        "team": "default",
        "name": "demo",
        "announcement": 1,
    }
    team: TeamName
    name: ClusterName
    announcement: int = Field(ge=1)


class ClusterDeleted(ClusterEvent):
    """Nothing of the cluster is left; every service may forget it."""

    subject: ClassVar[str] = "cluster.deleted"
    example: ClassVar[dict[str, Any]] = {"cluster_id": _CLUSTER, "team": "default", "name": "demo"}
    team: TeamName
    name: ClusterName


# --- api: what a team is told of its clusters ----------------------------------------------------------------------


class ClusterAccepted(ProgressEvent):
    """A request that came in as an event was admitted."""

    subject: ClassVar[str] = "cluster.accepted"
    example: ClassVar[dict[str, Any]] = {
        "cluster_id": _CLUSTER,
        "team": "default",
        "name": "demo",
        "request_id": "build-4711",
    }
    cluster_id: UUID
    name: ClusterName
    request_id: str


class ClusterRejected(ProgressEvent):
    """A request that came in as an event was refused: every problem at once.

    Of a request that could not be read, or names no id, `request_id` is `message-` and the message's id: its `ce-id` or
    `Nats-Msg-Id`, else where it was stored, as JetStream's acknowledgement said.
    """

    subject: ClassVar[str] = "cluster.rejected"
    example: ClassVar[dict[str, Any]] = {
        "team": "default",
        "request_id": "build-4711",
        "problems": [
            {"field": "spec.control_plane.count", "problem": "2 is even", "remedy": "use an odd count, such as 1 or 3"}
        ],
    }
    request_id: str
    problems: tuple[FieldProblem, ...]


class ClusterProgress(ProgressEvent):
    """Something happened to a cluster. `text` is its timeline's sentence, for people."""

    cluster_id: UUID
    name: ClusterName
    text: str


_PROGRESS: dict[str, Any] = {"cluster_id": _CLUSTER, "team": "default", "name": "demo"}


class ClusterPhaseChanged(ClusterProgress):
    """The cluster has come to another phase; of a failure: why, whose hands it is in, and whether a retry helps."""

    subject: ClassVar[str] = "cluster.phase_changed"
    example: ClassVar[dict[str, Any]] = {
        **_PROGRESS,
        "text": "The cluster is Failed: no host has 4 free CPUs",
        "phase": "Failed",
        "before": "Provisioning",
        "reason": "no host has 4 free CPUs",
        "who_can_fix": "operator",
        "retry_helps": True,
    }
    phase: ClusterPhase
    before: ClusterPhase
    reason: str | None = Field(None, description="Why it failed, or what holds its deletion up.")
    who_can_fix: WhoCanFix | None = None
    retry_helps: bool | None = Field(None, description="True where a person's `retry` may help once that is mended.")


class ClusterNodesChanged(ClusterProgress):
    """Nodes of the cluster came, joined, failed, left, or are believed to be well or unwell: how many there are now."""

    subject: ClassVar[str] = "cluster.nodes_changed"
    example: ClassVar[dict[str, Any]] = {
        **_PROGRESS,
        "text": "Joined with 1.34.2: 2 nodes of workers",
        "wanted": 3,
        "made": 3,
        "joined": 3,
        "ready": 1,
        "failed": 0,
    }
    wanted: int
    made: int = Field(description="Nodes whose machine runs, joined ones included.")
    joined: int
    ready: int = Field(description="Joined nodes that are Healthy.")
    failed: int


class ClusterHealthChanged(ClusterProgress):
    """The verdict on the cluster changed."""

    subject: ClassVar[str] = "cluster.health_changed"
    example: ClassVar[dict[str, Any]] = {
        **_PROGRESS,
        "text": "Healthy: ready, 3 of 3 nodes ready",
        "verdict": "Healthy",
        "reason": "ready, 3 of 3 nodes ready",
        "since": "2026-01-01T00:00:00Z",
    }
    verdict: Verdict
    reason: str
    since: datetime


class ClusterEndpointIssued(ClusterProgress):
    """Where the cluster's kube-apiserver is reached; told again whenever it changes."""

    subject: ClassVar[str] = "cluster.endpoint_issued"
    example: ClassVar[dict[str, Any]] = {
        **_PROGRESS,
        "text": "demo.default.caravan.test:6443 points at 127.64.0.1",
        "host": "demo.default.caravan.test",
        "port": 6443,
        "addresses": ["127.64.0.1"],
        "virtual_ip": None,
        "resolvable": False,
    }
    host: str
    port: int
    addresses: tuple[str, ...] = Field(description="The live control planes; empty until the first one starts.")
    virtual_ip: str | None = Field(None, description="What the name points at instead, where it does.")
    resolvable: bool = Field(description="False where only Caravan's own server knows the name: dial an address.")


class ClusterExpiring(ProgressEvent):
    """The cluster is deleted soon, its lifetime being over: extend it, or have what matters out by `expires_at`."""

    subject: ClassVar[str] = "cluster.expiring"
    example: ClassVar[dict[str, Any]] = {
        "cluster_id": _CLUSTER,
        "team": "default",
        "name": "demo",
        "expires_at": "2026-01-01T08:00:00Z",
    }
    cluster_id: UUID
    name: ClusterName
    expires_at: datetime


class ClusterEnded(ClusterProgress):
    """Nothing of the cluster is left, and its name is free again."""

    subject: ClassVar[str] = "cluster.ended"
    example: ClassVar[dict[str, Any]] = {**_PROGRESS, "text": "Nothing of the cluster is left"}


# --- api: leases of pools' clusters --------------------------------------------------------------------------------


class LeaseEvent(ProgressEvent):
    """A fact about one lease, told to its team. `holder` is whoever took it."""

    lease_id: UUID
    pool: ClusterName
    holder: str


_LEASE: dict[str, Any] = {
    "lease_id": "0190f6f0-5b7c-7000-8000-000000000003",
    "team": "default",
    "pool": "ci",
    "holder": "alice",
}


class LeaseQueued(LeaseEvent):
    """Somebody wants a cluster of a pool that has none ready; `lease.granted` follows when their turn has come."""

    subject: ClassVar[str] = "lease.queued"
    example: ClassVar[dict[str, Any]] = _LEASE


class LeaseGranted(LeaseEvent):
    """A cluster of the pool is the holder's, until `ends_at`."""

    subject: ClassVar[str] = "lease.granted"
    example: ClassVar[dict[str, Any]] = {
        **_LEASE,
        "cluster_id": _CLUSTER,
        "cluster": "ci-k3x9p",
        "ends_at": "2026-01-01T01:00:00Z",
    }
    cluster_id: UUID
    cluster: ClusterName
    ends_at: datetime


class LeaseExtended(LeaseEvent):
    """The lease ends later than was told before."""

    subject: ClassVar[str] = "lease.extended"
    example: ClassVar[dict[str, Any]] = {**_LEASE, "ends_at": "2026-01-01T02:00:00Z"}
    ends_at: datetime


class LeaseEnding(LeaseEvent):
    """The lease ends soon, and its cluster with it: extend it, or have your results out by `ends_at`."""

    subject: ClassVar[str] = "lease.ending"
    example: ClassVar[dict[str, Any]] = {**_LEASE, "ends_at": "2026-01-01T01:00:00Z"}
    ends_at: datetime


class LeaseKept(LeaseEvent):
    """The lease was given back, and its cluster stays until `ends_at` to be looked at."""

    subject: ClassVar[str] = "lease.kept"
    example: ClassVar[dict[str, Any]] = {**_LEASE, "ends_at": "2026-01-01T05:00:00Z"}
    ends_at: datetime


class LeaseEnded(LeaseEvent):
    """The lease is over; its cluster, if it ever had one, is being deleted."""

    subject: ClassVar[str] = "lease.ended"
    example: ClassVar[dict[str, Any]] = {**_LEASE, "reason": "alice gave it back"}
    reason: str


# --- provisioner: machines -----------------------------------------------------------------------------------------


class CloudOffered(Event):
    """What a cloud offers and still grants; said at start and whenever it changes."""

    subject: ClassVar[str] = "cloud.offered"
    example: ClassVar[dict[str, Any]] = {
        "cloud": "sandbox",
        "kind": "sandbox",
        "simulated": True,
        "machine_types": [{"name": "medium", "cpus": 2, "memory_mib": 4096, "disk_gib": 40}],
        "quota": {"machines_limit": None, "machines_used": 3},
        "seconds_to_boot": 2.0,
        "virtual_ips": [],
        "stops_machines": True,
    }
    cloud: str
    kind: str
    simulated: bool
    machine_types: tuple[OfferedMachineType, ...]
    quota: CloudQuota
    seconds_to_boot: float = Field(description="What a machine usually takes from the call to running, seconds.")
    virtual_ips: tuple[IPNetwork, ...] = Field(
        (), description="Where a cluster's virtual IP may be taken from; empty where machines can carry none."
    )
    stops_machines: bool = Field(
        False, description="Machines can be stopped and started again, so that clusters can sleep."
    )


class NodesCreating(ClusterEvent):
    """The cloud has been asked for these nodes' machines."""

    subject: ClassVar[str] = "nodes.creating"
    example: ClassVar[dict[str, Any]] = {"cluster_id": _CLUSTER, "generation": 1, "nodes": [_NODE]}
    generation: int
    nodes: tuple[NodeRef, ...]


class NodesReady(ClusterEvent):
    """These nodes' machines run. `complete` says that every node of the generation is among those told so far."""

    subject: ClassVar[str] = "nodes.ready"
    example: ClassVar[dict[str, Any]] = {
        "cluster_id": _CLUSTER,
        "generation": 1,
        "complete": True,
        "nodes": [
            {
                **_NODE,
                "role": "worker",
                "machine_id": "m-000003",
                "address": "127.64.0.3",
                "connection": "sandbox",
                "joins_by_itself": True,
            }
        ],
    }
    generation: int
    complete: bool
    nodes: tuple[ReadyNode, ...]


class NodesFailed(ClusterEvent):
    """These nodes' machines failed. `gave_up` says that no replacement comes until a person retries."""

    subject: ClassVar[str] = "nodes.failed"
    example: ClassVar[dict[str, Any]] = {
        "cluster_id": _CLUSTER,
        "generation": 1,
        "gave_up": False,
        "nodes": [{**_NODE, "reason": "no host has 4 free CPUs", "who_can_fix": "operator", "will_be_replaced": True}],
    }
    generation: int
    gave_up: bool
    nodes: tuple[FailedNode, ...]


class NodesLeaving(ClusterEvent):
    """These nodes are no longer wanted: drain them, then say `nodes.drained`."""

    subject: ClassVar[str] = "nodes.leaving"
    example: ClassVar[dict[str, Any]] = {"cluster_id": _CLUSTER, "nodes": [_NODE]}
    nodes: tuple[NodeRef, ...]


class NodesRemoved(ClusterEvent):
    """These nodes' machines are gone. `remaining` counts the cluster's machines that the cloud still has."""

    subject: ClassVar[str] = "nodes.removed"
    example: ClassVar[dict[str, Any]] = {"cluster_id": _CLUSTER, "remaining": 0, "nodes": [_NODE]}
    remaining: int
    nodes: tuple[NodeRef, ...]


class NodesPowerChanged(ClusterEvent):
    """How far putting a cluster to sleep or waking it has come; said of clusters alone of which that was ever asked.

    `complete`: all of its machines are as they are to be, by the request that `power_generation` counts.
    """

    subject: ClassVar[str] = "nodes.power_changed"
    example: ClassVar[dict[str, Any]] = {
        "cluster_id": _CLUSTER,
        "power_generation": 1,
        "asleep": True,
        "running": 0,
        "stopped": 3,
        "complete": True,
    }
    power_generation: int
    asleep: bool
    running: int = Field(description="Machines that run.")
    stopped: int = Field(description="Machines that are stopped.")
    complete: bool
    trouble: str | None = Field(None, description="Why it does not go on until a person retries.")


class NodesRepairHeld(ClusterEvent):
    """These nodes ought to be repaired, replaced or removed, and are held back: by what, or by nothing any more."""

    subject: ClassVar[str] = "nodes.repair_held"
    example: ClassVar[dict[str, Any]] = {
        "cluster_id": _CLUSTER,
        "nodes": [{**_NODE, "reason": "more than 40 % of workers are unreachable at once: a person has to look"}],
    }
    nodes: tuple[HeldNode, ...]


class MachinesHandedOver(Event):
    """These machines of an inventory are the bootstrapper's to work on; said again until it hands them back."""

    subject: ClassVar[str] = "machines.handed_over"
    example: ClassVar[dict[str, Any]] = {
        "work": "prepare",
        "machines": [
            {
                "id": _RUN,
                "ticket": 2,
                "name": "rack1-07",
                "cloud": "metal",
                "address": "10.0.0.7",
                "ssh_port": 22,
                "ssh_user": "root",
                "host_keys": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"],
                "cluster_id": _CLUSTER,
                "node": "demo-workers-k3x9-1",
            }
        ],
    }
    work: MachineWork
    machines: tuple[MachineToWork, ...]


class MachinesHandedBack(Event):
    """The bootstrapper has done that work on these machines, or found that it cannot be done."""

    subject: ClassVar[str] = "machines.handed_back"
    example: ClassVar[dict[str, Any]] = {
        "work": "clean",
        "machines": [{"id": _RUN, "ticket": 3, "problem": "rack1-07 cannot be reached: connection timed out"}],
    }
    work: MachineWork
    machines: tuple[WorkedMachine, ...]


class MachinesChanged(Event):
    """These machines of inventories are in another state, now that the work on them has ended."""

    subject: ClassVar[str] = "machines.changed"
    example: ClassVar[dict[str, Any]] = {
        "machines": [
            {
                "name": "rack1-07",
                "cloud": "metal",
                "state": "Quarantined",
                "reason": "rack1-07 cannot be reached: connection timed out",
            }
        ],
    }
    machines: tuple[MachineNow, ...]


# --- bootstrapper: membership --------------------------------------------------------------------------------------


class KubernetesOffered(Event):
    """The Kubernetes versions the playbooks can install, newest first; said at start and whenever they change."""

    subject: ClassVar[str] = "kubernetes.offered"
    example: ClassVar[dict[str, Any]] = {"versions": ["1.34.2", "1.33.6"]}
    versions: tuple[str, ...]


class BootstrapStarted(ClusterEvent):
    """kubeadm starts on the first control-plane node; dns points the endpoint at its address."""

    subject: ClassVar[str] = "bootstrap.started"
    example: ClassVar[dict[str, Any]] = {
        "cluster_id": _CLUSTER,
        "generation": 1,
        "first_node": "demo-control-plane-a1b2-1",
        "address": "127.64.0.1",
    }
    generation: int
    first_node: str
    address: str


class BootstrapProgress(ClusterEvent):
    """A Run reached a step."""

    subject: ClassVar[str] = "bootstrap.progress"
    example: ClassVar[dict[str, Any]] = {
        "cluster_id": _CLUSTER,
        "run_id": _RUN,
        "play": "site",
        "step": "ensure the first control plane is initialised",
        "step_number": 3,
        "at": "2026-01-01T00:00:00Z",
    }
    run_id: UUID
    play: str
    step: str
    step_number: int
    at: datetime


class NodesJoined(ClusterEvent):
    """The cluster's kube-apiserver lists these nodes."""

    subject: ClassVar[str] = "nodes.joined"
    example: ClassVar[dict[str, Any]] = {"cluster_id": _CLUSTER, "version": "1.34.2", "nodes": [_NODE]}
    version: str = Field(description="The kubelet version that these nodes run.")
    nodes: tuple[NodeRef, ...]


class NodesDrained(ClusterEvent):
    """These nodes are out of the cluster; their machines may be deleted."""

    subject: ClassVar[str] = "nodes.drained"
    example: ClassVar[dict[str, Any]] = {"cluster_id": _CLUSTER, "nodes": [_NODE]}
    nodes: tuple[NodeRef, ...]


class BootstrapDone(ClusterEvent):
    """Every node of the generation has joined and runs this version."""

    subject: ClassVar[str] = "bootstrap.done"
    example: ClassVar[dict[str, Any]] = {"cluster_id": _CLUSTER, "generation": 1, "version": "1.34.2", "nodes": 3}
    generation: int
    version: str
    nodes: int


class BootstrapFailed(ClusterEvent):
    """The bootstrapper gave up on this generation until a person retries."""

    subject: ClassVar[str] = "bootstrap.failed"
    example: ClassVar[dict[str, Any]] = {
        "cluster_id": _CLUSTER,
        "generation": 1,
        "run_id": _RUN,
        "reason": "kubeadm init failed on demo-control-plane-a1b2-1: port 6443 is in use",
        "who_can_fix": "operator",
    }
    generation: int
    run_id: UUID | None = None
    reason: str
    who_can_fix: WhoCanFix


class BootstrapHeld(ClusterEvent):
    """What is due to the cluster waits for its maintenance window: what and until when, or nothing any more."""

    subject: ClassVar[str] = "bootstrap.held"
    example: ClassVar[dict[str, Any]] = {
        "cluster_id": _CLUSTER,
        "reason": "the upgrade to 1.34.2 waits for the maintenance window: next Sat 3 Jan 02:00–06:00 (Europe/Berlin)",
    }
    reason: str = Field(description="As a sentence; empty: nothing waits any more.")


# --- dns: names and credentials ------------------------------------------------------------------------------------


class EndpointIssued(ClusterEvent):
    """Where the cluster's kube-apiserver is reached, and the CA that signs for it. Said again whenever it changes."""

    subject: ClassVar[str] = "endpoint.issued"
    example: ClassVar[dict[str, Any]] = {
        "cluster_id": _CLUSTER,
        "host": "demo.default.caravan.test",
        "port": 6443,
        "addresses": ["127.64.0.1"],
        "virtual_ip": None,
        "zone": "embedded",
        "resolvable": False,
        "ca_certificate": "-----BEGIN CERTIFICATE-----\n…\n-----END CERTIFICATE-----\n",
    }
    host: str
    port: int
    addresses: tuple[str, ...] = Field(description="The live control planes; empty until the first one starts.")
    virtual_ip: str | None = Field(
        None,
        description="What the name points at instead, from the beginning: an address that one of them carries, or a "
        "load balancer of the cloud's.",
    )
    zone: str = Field(description="The zone backend that serves the name.")
    resolvable: bool = Field(description="False where only Caravan's own server knows the name: dial an address.")
    ca_certificate: str = Field(description="PEM. Public.")


class EndpointWithdrawn(ClusterEvent):
    """The cluster's name no longer exists and its credentials are void."""

    subject: ClassVar[str] = "endpoint.withdrawn"
    example: ClassVar[dict[str, Any]] = {"cluster_id": _CLUSTER}


class EndpointFailed(ClusterEvent):
    """dns gave up on the cluster's name until a person retries."""

    subject: ClassVar[str] = "endpoint.failed"
    example: ClassVar[dict[str, Any]] = {
        "cluster_id": _CLUSTER,
        "reason": "the zone server refused the update: NOTAUTH",
        "who_can_fix": "operator",
    }
    reason: str
    who_can_fix: WhoCanFix


class KubeconfigIssued(ClusterEvent):
    """Someone was granted access. The kubeconfig itself is never in an event."""

    subject: ClassVar[str] = "kubeconfig.issued"
    example: ClassVar[dict[str, Any]] = {
        "cluster_id": _CLUSTER,
        "grant_id": _RUN,
        "user": "alice",
        "role": "viewer",
        "expires_at": "2026-01-01T01:00:00Z",
    }
    grant_id: UUID
    user: str
    role: str
    expires_at: datetime


class KubeconfigRevoked(ClusterEvent):
    """A grant no longer opens anything."""

    subject: ClassVar[str] = "kubeconfig.revoked"
    example: ClassVar[dict[str, Any]] = {"cluster_id": _CLUSTER, "grant_id": _RUN, "user": "alice"}
    grant_id: UUID
    user: str


# --- health: what we believe ---------------------------------------------------------------------------------------


class HealthChanged(ClusterEvent):
    """The verdict on a cluster changed."""

    subject: ClassVar[str] = "health.changed"
    example: ClassVar[dict[str, Any]] = {
        "cluster_id": _CLUSTER,
        "verdict": "Healthy",
        "reason": "ready, 3 of 3 nodes ready",
        "since": "2026-01-01T00:00:00Z",
        "nodes_ready": 3,
        "nodes_seen": 3,
    }
    verdict: Verdict
    reason: str
    since: datetime
    nodes_ready: int
    nodes_seen: int


class NodesHealthChanged(ClusterEvent):
    """The verdicts on these nodes changed."""

    subject: ClassVar[str] = "nodes.health_changed"
    example: ClassVar[dict[str, Any]] = {
        "cluster_id": _CLUSTER,
        "nodes": [
            {
                "name": "demo-workers-k3x9-1",
                "verdict": "Degraded",
                "reason": "NotReady: kubelet stopped posting status",
                "since": "2026-01-01T00:00:00Z",
            }
        ],
    }
    nodes: tuple[NodeVerdict, ...]


def _concrete(base: type[Event]) -> list[type[Event]]:
    return [cls for sub in base.__subclasses__() for cls in ([sub] if "subject" in vars(sub) else _concrete(sub))]


EVENTS: dict[str, type[Event]] = {event.subject: event for event in _concrete(Event)}
"""Every event by its subject."""
