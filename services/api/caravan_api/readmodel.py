"""What the api shows: JSON built from single rows, so that no page loads a cluster's nodes.

Counters are cumulative where that is what a progress bar wants: a joined node is a made one too.
"""

from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from pydantic import BaseModel, Field

from caravan_api.decide.facts import Facts
from caravan_api.decide.nodes import NodeState, role_of
from caravan_api.store import Cluster, Grant, Node, TimelineEntry
from caravan_shared.contracts.facts import WhoCanFix
from caravan_shared.contracts.presets import effective
from caravan_shared.contracts.spec import ClusterSpec, Role
from caravan_shared.contracts.states import ClusterPhase, Verdict
from caravan_shared.contracts.tuning import Tuning


class FailureView(BaseModel):
    """Why it stopped, whose hands it is in, and whether `retry` alone can help."""

    reason: str
    who_can_fix: WhoCanFix
    retry_helps: bool


class HealthView(BaseModel):
    """What health believes of the cluster."""

    verdict: Verdict
    reason: str
    since: datetime


class EndpointView(BaseModel):
    """Where the kube-apiserver is reached."""

    host: str
    port: int
    addresses: tuple[str, ...] = Field(description="The live control planes.")
    virtual_ip: str | None = Field(
        description="What the name points at instead: one of them carries it, or a load balancer has it."
    )
    resolvable: bool


class StepView(BaseModel):
    """What is being done right now."""

    text: str
    at: datetime


class NodeCounts(BaseModel):
    """Nodes of a cluster by how far they are."""

    wanted: int
    creating: int = Field(description="Machines asked for that do not run yet.")
    made: int = Field(description="Nodes whose machine runs, joined ones included.")
    joined: int
    ready: int = Field(description="Joined nodes that health believes to be Healthy.")
    failed: int


class NodeSetView(BaseModel):
    """One node set and how far its nodes are."""

    name: str
    role: Role
    machine_type: str
    wanted: int
    creating: int = 0
    made: int = 0
    joined: int = 0
    ready: int = 0
    leaving: int = 0
    failed: int = 0


class ClusterView(BaseModel):
    """A cluster as every door shows it."""

    id: UUID
    name: str
    team: str
    generation: int
    phase: ClusterPhase
    failure: FailureView | None
    spec: ClusterSpec
    version: str | None = Field(description="The Kubernetes version that runs.")
    health: HealthView | None
    endpoint: EndpointView | None
    nodes: NodeCounts
    node_sets: list[NodeSetView]
    step: StepView | None
    asleep: bool = Field(description="It was put to sleep: its machines are, or are being, stopped.")
    replacing: list[str] = Field(description="Nodes that are to be replaced, each until it is gone.")
    simulated: bool
    pool_id: UUID | None = Field(description="The pool that it was made for.")
    expires_at: datetime | None = Field(description="When it is deleted by itself.")
    created_at: datetime
    created_by: str
    updated_at: datetime
    etag: str


class TraceView(BaseModel):
    """What one request set off in all services, as OpenTelemetry keeps it."""

    id: str = Field(description="The trace's id: 32 hexadecimal digits.")
    url: str | None = Field(description="Where to look at it; null where `CARAVAN_API_TRACE_URL` is not set.")


class ClusterDetail(ClusterView):
    """A cluster on a page of its own."""

    trace: TraceView | None = Field(
        description="Of what was last asked of it; null where that was not traced, or is long ago."
    )
    effective_tuning: Tuning = Field(description="How its parts are set for its size, overrides included.")


class NodeHealthView(BaseModel):
    """What health believes of a node."""

    verdict: Verdict
    reason: str


class NodeView(BaseModel):
    """One node."""

    name: str
    node_set: str
    role: Role
    state: NodeState
    machine_id: str | None
    address: str | None
    version: str | None
    health: NodeHealthView | None
    reason: str | None
    held: str | None = Field(description="Why it is not replaced or removed yet although it ought to be.")
    simulated: bool


class TimelineView(BaseModel):
    """One line of a timeline."""

    id: int
    at: datetime
    kind: str
    text: str
    source: str
    data: dict[str, Any]


class GrantView(BaseModel):
    """One issued kubeconfig; never the kubeconfig itself."""

    grant_id: UUID
    user: str
    role: str | None
    issued_at: datetime | None
    expires_at: datetime | None
    revoked_at: datetime | None


class ClustersGrantView(GrantView):
    """One issued kubeconfig, and the cluster that it is for."""

    cluster_id: UUID
    cluster: str
    team: str
    is_open: bool = Field(description="Whether it still opens the cluster.")


class Numbered(Protocol):
    """What a cluster's row, or a part of it, says of the state that it is in."""

    @property
    def generation(self) -> int:
        """Which spec is wanted."""

    @property
    def revision(self) -> int:
        """How often people asked for something."""

    @property
    def change(self) -> int:
        """The number of its last change of any kind."""


def etag_of(cluster: Numbered) -> str:
    """Names what is wanted, not what was observed: a node that joins makes nobody's change stale."""
    return f'"{cluster.generation}.{cluster.revision}"'


def validator_of(cluster: Numbered) -> str:
    """Names all that is shown of a cluster: what is wanted, and the newest of what was observed."""
    return f'{etag_of(cluster)[:-1]}-{cluster.change}"'


def node_counts(cluster: Cluster) -> NodeCounts:
    """The sums over a cluster's node sets. Nodes of sets that are no longer wanted count until they are gone."""
    summed = {
        name: sum(node_set.get(name, 0) for node_set in cluster.node_sets)
        for name in ("creating", "made", "joined", "ready", "failed")
    }
    return NodeCounts(wanted=cluster.nodes_wanted, **summed)


def cluster_view(cluster: Cluster) -> ClusterView:
    """A cluster's JSON from its row alone."""
    facts = Facts.model_validate(cluster.facts)
    phase = ClusterPhase(cluster.phase)
    counts = node_counts(cluster)
    return ClusterView(
        id=cluster.id,
        name=cluster.name,
        team=cluster.team,
        generation=cluster.generation,
        phase=phase,
        failure=FailureView.model_validate(cluster.failure) if cluster.failure else None,
        spec=ClusterSpec.model_validate(cluster.spec, extra="ignore"),  # a newer replica beside us may have written it
        version=facts.version.number if facts.version else None,
        health=_health(facts),
        endpoint=_endpoint(facts),
        nodes=counts,
        node_sets=[NodeSetView.model_validate(node_set) for node_set in cluster.node_sets],
        step=_step(cluster, phase, facts, counts),
        asleep=cluster.asleep,
        replacing=cluster.replacing,
        simulated=cluster.simulated,
        pool_id=cluster.pool_id,
        expires_at=cluster.expires_at,
        created_at=cluster.created_at,
        created_by=cluster.created_by,
        updated_at=cluster.updated_at,
        etag=etag_of(cluster),
    )


def cluster_detail(cluster: Cluster, trace: TraceView | None) -> ClusterDetail:
    """A cluster's JSON with what follows from its spec, and its trace."""
    view = cluster_view(cluster)
    return ClusterDetail(**view.__dict__, trace=trace, effective_tuning=effective(view.spec))


def node_view(node: Node, *, simulated: bool) -> NodeView:
    """A node's JSON."""
    health = None
    if node.verdict:
        health = NodeHealthView(verdict=Verdict(node.verdict), reason=node.verdict_reason or "")
    return NodeView(
        name=node.name,
        node_set=node.node_set,
        role=role_of(node.node_set),
        state=NodeState(node.state),
        machine_id=node.machine_id,
        address=node.address,
        version=node.version,
        health=health,
        reason=node.reason,
        held=node.held,
        simulated=simulated,
    )


def timeline_view(entry: TimelineEntry) -> TimelineView:
    """A timeline entry's JSON."""
    return TimelineView.model_validate(entry, from_attributes=True)


def grant_view(grant: Grant) -> GrantView:
    """A grant's JSON."""
    return GrantView.model_validate(grant, from_attributes=True)


def clusters_grant_view(grant: Grant, cluster: Cluster, now: datetime) -> ClustersGrantView:
    """A grant's JSON among those of other clusters."""
    is_valid = grant.revoked_at is None and grant.expires_at is not None and grant.expires_at > now
    return ClustersGrantView(
        **grant_view(grant).model_dump(),
        cluster_id=cluster.id,
        cluster=cluster.name,
        team=cluster.team,
        is_open=is_valid and cluster.deleted_at is None,
    )


def _health(facts: Facts) -> HealthView | None:
    return HealthView.model_validate(facts.health, from_attributes=True) if facts.health else None


def _endpoint(facts: Facts) -> EndpointView | None:
    if facts.endpoint is None or facts.withdrawn:
        return None
    return EndpointView.model_validate(facts.endpoint, from_attributes=True)


def _step(cluster: Cluster, phase: ClusterPhase, facts: Facts, counts: NodeCounts) -> StepView | None:
    if cluster.spec.get("paused") and not cluster.deletion_asked_at:
        return StepView(text="paused: nothing is done until it is resumed", at=cluster.updated_at)
    if phase is ClusterPhase.REQUESTED:
        return StepView(text="waiting for the first machine", at=cluster.created_at)
    if phase is ClusterPhase.DELETING:
        left = f"{facts.remaining.machines} machines left" if facts.remaining else "machines and name are being removed"
        return StepView(text=left, at=cluster.updated_at)
    if phase in (ClusterPhase.HIBERNATING, ClusterPhase.WAKING):
        return StepView(text=_power_step(cluster, facts), at=cluster.updated_at)
    if facts.held and facts.held.text and phase in (ClusterPhase.READY, ClusterPhase.UPDATING):
        return StepView(text=facts.held.text, at=cluster.updated_at)
    if phase not in (ClusterPhase.PROVISIONING, ClusterPhase.BOOTSTRAPPING, ClusterPhase.UPDATING):
        return None
    if facts.step and facts.step.sequence > facts.done.sequence:  # one source says both, so the numbers compare
        return StepView(text=facts.step.text, at=facts.step.at)
    if cluster.replacing:
        more = f" and {len(cluster.replacing) - 1} more nodes" if len(cluster.replacing) > 1 else ""
        return StepView(text=f"replacing {cluster.replacing[0]}{more}", at=cluster.updated_at)
    if counts.made != counts.wanted:
        return StepView(text=f"{counts.made} of {counts.wanted} machines run", at=cluster.updated_at)
    return StepView(text=f"{counts.joined} of {counts.wanted} nodes have joined", at=cluster.updated_at)


def _power_step(cluster: Cluster, facts: Facts) -> str:
    """How far its machines are stopped or started."""
    power = facts.power
    if power is None or power.generation < cluster.power_generation:
        return "its machines are about to be stopped" if cluster.asleep else "its machines are about to be started"
    if power.trouble:
        return f"{power.trouble}; a retry tries again"
    if cluster.asleep:
        return f"{power.stopped} of {power.total} machines are stopped"
    if not power.complete:
        return f"{power.running} of {power.total} machines run"
    did_not = f", {power.stopped} did not start" if power.stopped else ""
    return f"{power.running} of {power.total} machines run{did_not}; waiting for its kube-apiserver"
