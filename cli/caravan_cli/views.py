"""The API's answers as the CLI reads them: what it shows has a type, the rest is kept for `-o json`."""

from datetime import datetime
from typing import Any, Generic, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict

from caravan_shared.contracts.spec import Role
from caravan_shared.contracts.states import ClusterPhase, LeaseState


class View(BaseModel):
    """Tolerant of fields that a newer API adds; `model_dump` gives them back."""

    model_config = ConfigDict(extra="allow", defer_build=True)


class Failure(View):
    """Why a service gave up, and who can do what about it."""

    reason: str
    who_can_fix: str
    retry_helps: bool = True


class Health(View):
    """What health believes, and since when."""

    verdict: str
    reason: str = ""
    since: datetime | None = None


class Endpoint(View):
    """Where the cluster's kube-apiserver is reached."""

    host: str
    port: int
    addresses: tuple[str, ...] = ()
    virtual_ip: str | None = None
    resolvable: bool = False


class NodeCounts(View):
    """How many nodes there are in each state."""

    wanted: int = 0
    creating: int = 0
    made: int = 0
    joined: int = 0
    ready: int = 0
    failed: int = 0


class NodeSet(View):
    """One set of equal nodes and how far it is."""

    name: str
    role: str
    machine_type: str = ""
    wanted: int = 0
    creating: int = 0
    made: int = 0
    joined: int = 0
    leaving: int = 0
    failed: int = 0

    @property
    def done(self) -> int:
        """How many nodes are where they should be; etcd nodes are no members of the Kubernetes cluster."""
        return self.made if self.role == Role.ETCD else self.joined

    @property
    def is_full(self) -> bool:
        """None of its nodes is missing."""
        return self.done >= self.wanted


class Step(View):
    """What is being done now."""

    text: str
    at: datetime | None = None


class Trace(View):
    """What the last request set off in all services."""

    id: str
    url: str | None = None


class Cluster(View):
    """A cluster: what is wanted and how far it is."""

    id: str
    name: str
    team: str
    generation: int
    phase: ClusterPhase
    failure: Failure | None = None
    spec: dict[str, Any]
    version: str | None = None
    health: Health | None = None
    endpoint: Endpoint | None = None
    nodes: NodeCounts = NodeCounts()
    node_sets: tuple[NodeSet, ...] = ()
    step: Step | None = None
    trace: Trace | None = None
    asleep: bool = False
    replacing: tuple[str, ...] = ()
    simulated: bool = False
    expires_at: datetime | None = None
    created_at: datetime
    created_by: str | None = None
    updated_at: datetime | None = None
    etag: str = ""

    @property
    def paused(self) -> bool:
        """Whether nothing is done for it until it is resumed."""
        return bool(self.spec.get("paused"))

    def settled(self, generation: int) -> bool:
        """Whether the cluster is as this generation of its spec wants it, and no node is on its way in or out."""
        return (
            self.generation >= generation
            and self.phase is ClusterPhase.READY
            and not self.replacing
            and all(node_set.is_full and not node_set.leaving for node_set in self.node_sets)
        )


class Run(View):
    """One execution of a playbook on some nodes."""

    run_id: str
    play: str
    state: str
    node_count: int
    step: str | None = None
    failure: str | None = None
    created_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None


class LogPage(NamedTuple):
    """A part of what was printed in a run, and the places of the parts around it; None: there is none, or none yet to
    come.
    """

    text: str
    before: dict[str, str] | None
    after: dict[str, str] | None


class Node(View):
    """One member of a node set."""

    name: str
    node_set: str
    role: str
    state: str
    machine_id: str | None = None
    address: str | None = None
    version: str | None = None
    health: Health | None = None
    reason: str | None = None
    held: str | None = None
    simulated: bool = False


class TimelineEntry(View):
    """One thing that happened to a cluster; a later one has a higher id."""

    id: int
    at: datetime
    kind: str
    text: str
    source: str = ""


class SetPlan(View):
    """What would happen to one node set."""

    name: str
    machine_type: str = ""
    cloud: str = ""
    current: int = 0
    wanted: int = 0
    create: int = 0
    remove: int = 0
    change: tuple[str, ...] = ()


class QuotaPlan(View):
    """Machines needed beyond those there are, against what the cloud still grants (None: no limit)."""

    resource: str = "machines"
    cloud: str = ""
    need: int = 0
    free: int | None = None
    limit: int | None = None
    fits: bool = True


class Plan(View):
    """What a request would do."""

    action: str
    node_sets: tuple[SetPlan, ...] = ()
    upgrade: str | None = None
    paused: bool = False
    quota: QuotaPlan = QuotaPlan()
    quotas: tuple[QuotaPlan, ...] = ()
    estimate_s: float = 0
    simulated: bool = False
    virtual_ip: str | None = None
    tuning: dict[str, Any] | None = None
    advice: tuple[str, ...] = ()


class Machine(View):
    """A machine of an inventory."""

    name: str
    cloud: str
    address: str
    ssh_port: int = 22
    machine_type: str
    cpus: int
    memory_mib: int
    labels: dict[str, str] = {}
    state: str
    since: datetime
    reason: str | None = None
    checked_at: datetime | None = None
    node: str | None = None
    has_power: bool = False
    etag: str = ""


class Kubeconfig(View):
    """An issued kubeconfig: YAML text, and until when it opens anything."""

    grant_id: str
    kubeconfig: str
    expires_at: datetime


class Grant(View):
    """An issued kubeconfig, of which cluster, and whether it still opens it."""

    grant_id: str
    user: str
    role: str | None = None
    cluster_id: str
    cluster: str
    team: str
    is_open: bool
    issued_at: datetime | None = None
    expires_at: datetime | None = None
    revoked_at: datetime | None = None


class RevokedGrant(View):
    """A grant that was taken back; `reason` is why it is not void yet, if it is not."""

    grant_id: str
    cluster: str
    team: str
    role: str
    reason: str | None = None


class RevokedAccess(View):
    """All that was taken back of a person, and how many tokens they may ask again with."""

    user: str
    revoked: tuple[RevokedGrant, ...]
    pending: tuple[RevokedGrant, ...]
    more: int = 0
    tokens: int = 0


class Buckets(View):
    """A pool's clusters, each counted once."""

    ready: int = 0
    making: int = 0
    asleep: int = 0
    stale: int = 0
    old: int = 0
    broken: int = 0
    leaving: int = 0
    leased: int = 0


class Pool(View):
    """A pool: clusters of one template that are kept ready."""

    id: str
    name: str
    team: str
    spec: dict[str, Any]
    spares_wanted: int
    clusters: Buckets
    waiting: int = 0
    usual_making_s: float | None = None
    trouble: str | None = None
    next_try_at: datetime | None = None
    roll: str | None = None
    deleting: bool = False
    created_at: datetime
    created_by: str | None = None
    etag: str = ""


class Lease(View):
    """Somebody's right to one cluster of a pool for a while, or a place in the pool's queue."""

    id: str
    pool: str
    team: str
    holder: str
    state: LeaseState
    purpose: str | None = None
    labels: dict[str, str] = {}
    asked_at: datetime
    lasts_s: int
    position: int | None = None
    estimate_s: float | None = None
    granted_at: datetime | None = None
    ends_at: datetime | None = None
    heartbeat_s: int | None = None
    cluster_id: str | None = None
    cluster: str | None = None
    ended_at: datetime | None = None
    end_reason: str | None = None

    @property
    def until(self) -> str:
        """When it ends, in local time: leases last up to weeks, so with the day."""
        return f"{self.ends_at.astimezone():%Y-%m-%d %H:%M:%S}" if self.ends_at else "-"


class TakenLease(Lease):
    """A new lease, with the kubeconfig that was asked for or why there is none."""

    kubeconfig: Kubeconfig | None = None
    kubeconfig_problem: str | None = None


Item = TypeVar("Item", bound=BaseModel)


class Page(BaseModel, Generic[Item]):
    """Some items, and where the next ones start (None: these were the last)."""

    items: tuple[Item, ...]
    next: str | None = None
