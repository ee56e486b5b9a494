"""A cluster of pretended machines behind the real store: what is decided is done to them, or fails, or is cut short.

It judges every run by Kubernetes' rules (https://kubernetes.io/releases/version-skew-policy/) as it does it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from caravan_bootstrapper import handlers, ledger, records, store
from caravan_bootstrapper.decide import decide
from caravan_bootstrapper.reconcile import write
from caravan_bootstrapper.records import Outcome
from caravan_bootstrapper.steps import EnsureTokens, LookAtMembers, Policy, Rest, StartRun, Step
from caravan_bootstrapper.store import Node
from caravan_bootstrapper.views import ClusterView, NodeView, RunState
from caravan_shared.contracts.events import (
    ClusterRequested,
    EndpointIssued,
    NodesLeaving,
    NodesReady,
    NodesRemoved,
)
from caravan_shared.contracts.facts import ClusterEvent, Connection, NodeRef, ReadyNode
from caravan_shared.contracts.spec import ClusterSpec, Role, minor_of
from caravan_shared.contracts.upgrades import version_key
from caravan_shared.plumbing.database import Database
from caravan_shared.plumbing.envelope import Heard

OWNER = "test"
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)

Fate = Callable[[StartRun], RunState]
"""How a run is to end."""


def succeeds(_run: StartRun) -> RunState:
    """Every run does what it is to do."""
    return RunState.SUCCEEDED


@dataclass
class Machine:
    """One machine: what is installed and what runs."""

    role: Role
    kubelet: str | None = None
    apiserver: str | None = None
    member: bool = False
    whole: bool = True
    """False while a run on it was cut short."""


@dataclass
class Fleet:
    """The cluster, its machines and the clock."""

    db: Database
    spec: dict[str, Any]
    policy: Policy
    id: UUID = field(default_factory=uuid4)
    now: datetime = BEGAN
    generation: int = 0
    sequence: int = 0
    machines: dict[str, Machine] = field(default_factory=dict)
    runs: list[StartRun] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)

    async def ask(self, **changes: Any) -> None:
        """Ask for the cluster, or for something else."""
        self.spec |= changes
        self.generation += 1
        await self._hear(
            ClusterRequested(
                cluster_id=self.id,
                team="default",
                name="demo",
                generation=self.generation,
                announcement=self.generation,
                spec=ClusterSpec.model_validate(self.spec),
            )
        )

    async def make(self, role: Role, *numbers: int) -> None:
        """Machines of a role run; all that are wanted are there."""
        short = {Role.CONTROL_PLANE: "cp", Role.ETCD: "e", Role.WORKER: "w"}[role]
        node_set = next(one.name for one in ClusterSpec.model_validate(self.spec).node_sets() if one.role is role)
        ready = [
            ReadyNode(
                name=f"{short}-{number}",
                node_set=node_set,
                role=role,
                machine_id=f"m-{short}-{number}",
                address=f"10.0.{list(Role).index(role)}.{number}",
                connection=Connection.SSH,
                joins_by_itself=False,
            )
            for number in numbers
        ]
        self.machines |= {node.name: Machine(role) for node in ready}
        await self._hear(NodesReady(cluster_id=self.id, generation=self.generation, complete=True, nodes=tuple(ready)))

    async def leave(self, *names: str, dead: bool = False) -> None:
        """These nodes are to go; dead ones are gone already."""
        async with self.db.reading() as session:
            known = {node.name: node for node in await store.nodes(session, self.id)}
        refs = tuple(NodeRef(name=name, node_set=known[name].node_set) for name in names)
        if dead:
            await self._hear(NodesRemoved(cluster_id=self.id, remaining=1, nodes=refs))
        else:
            await self._hear(NodesLeaving(cluster_id=self.id, nodes=refs))

    async def settle(self, fate: Fate = succeeds, *, steps: int = 400) -> ClusterView:
        """Do what is decided until nothing is left to do; fails where that never comes."""
        for _ in range(steps):
            seen = await self._seen()
            step = decide(seen, self.now, self.policy)
            self.steps.append(step)
            self.now += timedelta(seconds=0.1)
            if isinstance(step, Rest):
                if step.after is None:
                    return seen
                self.now += timedelta(seconds=step.after)
            elif isinstance(step, StartRun):
                await self._run(seen, step, fate(step))
            elif isinstance(step, LookAtMembers):
                self.now += timedelta(seconds=step.then)
                async with self.db.transaction() as tx:
                    await ledger.record_members(tx, seen, self._listed())
            else:
                assert not isinstance(step, EnsureTokens), "there are no tokens here"
                async with self.db.transaction() as tx:
                    await write(tx, seen, step, self.now)
        raise AssertionError(f"still at work after {steps} steps; last of all {self.steps[-5:]}")

    async def node(self, name: str) -> Node:
        """A node's row."""
        async with self.db.reading() as session:
            return await session.get_one(Node, (self.id, name))

    def plays(self) -> list[tuple[str, tuple[str, ...]]]:
        """Which plays ran on which nodes."""
        return [(run.play.value, tuple(node.name for node in run.nodes)) for run in self.runs]

    async def _seen(self) -> ClusterView:
        async with self.db.reading() as session:
            seen = await store.view(session, self.id, lambda run: run.owner != OWNER)
        assert seen
        if seen.first_node and not seen.endpoint_addresses:
            first = next(node for node in seen.nodes if node.name == seen.first_node)
            await self._hear(
                EndpointIssued(
                    cluster_id=self.id,
                    host="demo.test",
                    port=6443,
                    addresses=(first.address,),
                    zone="null",
                    resolvable=False,
                    ca_certificate="",
                )
            )
            return await self._seen()
        return seen

    async def _run(self, seen: ClusterView, step: StartRun, end: RunState) -> None:
        self.runs.append(step)
        async with self.db.transaction() as tx:
            run = await records.open_run(tx, seen, step, OWNER, self.now)
        self._work(step, end)
        self.now += timedelta(seconds=30)
        if end is RunState.INTERRUPTED:
            return  # killed: its row says that it runs until somebody looks
        name = step.nodes[0].name
        outcome = Outcome(end) if end is RunState.SUCCEEDED else Outcome(end, f"{name}: no", {name: f"{name}: no"})
        async with self.db.transaction() as tx:
            assert await records.close_run(tx, run.id, OWNER, outcome, self.now)

    def _work(self, step: StartRun, end: RunState) -> None:
        whole = end is RunState.SUCCEEDED
        for number, node in enumerate(step.nodes):
            machine = self.machines[node.name]
            if not whole and number:
                continue  # it ended at the first node
            getattr(self, f"_{step.play.value}")(step, machine, node, whole)

    def _site(self, step: StartRun, machine: Machine, node: NodeView, whole: bool) -> None:
        self._add_nodes(step, machine, node, whole)

    def _add_nodes(self, step: StartRun, machine: Machine, _node: NodeView, whole: bool) -> None:
        if machine.role is Role.CONTROL_PLANE:
            others = {one.apiserver for one in self._control_planes() if one is not machine}
            assert others <= {step.version}, f"kubeadm of {step.version} can't join control planes of {others}"
            machine.apiserver = step.version if whole else machine.apiserver
        machine.kubelet, machine.member = step.version, True
        machine.whole = whole or machine.role is Role.WORKER  # whose joining ends with its being listed
        self._check_skew()

    def _upgrade(self, step: StartRun, machine: Machine, _node: NodeView, whole: bool) -> None:
        if machine.role is Role.CONTROL_PLANE:
            assert machine.apiserver
            assert minor_of(step.version)[1] - minor_of(machine.apiserver)[1] <= 1, "no minor may be skipped"
            any_newer = any(one.apiserver == step.version and one.whole for one in self._control_planes())
            assert step.upgrade_first is not any_newer
            machine.apiserver = step.version
        lowest = min((one.kubelet for one in self.machines.values() if one.member and one.kubelet), key=version_key)
        assert minor_of(step.version)[1] - minor_of(lowest)[1] <= 1, "all nodes complete a hop before the next"
        machine.kubelet, machine.whole = step.version, whole
        self._check_skew()

    def _remove_nodes(self, _step: StartRun, machine: Machine, _node: NodeView, whole: bool) -> None:
        machine.member = not whole
        assert any(self._control_planes()), "the last control plane must stay"

    def _renew(self, _step: StartRun, _machine: Machine, _node: NodeView, _whole: bool) -> None:
        pass

    def _backup(self, _step: StartRun, _machine: Machine, _node: NodeView, _whole: bool) -> None:
        pass

    def _control_planes(self) -> list[Machine]:
        return [one for one in self.machines.values() if one.apiserver and one.member]

    def _check_skew(self) -> None:
        oldest = min((one.apiserver for one in self._control_planes() if one.apiserver), key=version_key, default=None)
        for machine in self.machines.values():
            if machine.role is Role.WORKER and machine.member and oldest:
                assert machine.kubelet
                assert version_key(machine.kubelet) <= version_key(oldest), "a kubelet is newer than its apiserver"

    def _listed(self) -> dict[str, str]:
        return {
            name: machine.kubelet
            for name, machine in self.machines.items()
            if machine.member and machine.kubelet and machine.role is not Role.ETCD and self._control_planes()
        }

    async def _hear(self, event: ClusterEvent) -> None:
        self.sequence += 1
        heard = Heard(
            event=event,
            id=str(uuid4()),
            sequence=self.sequence,
            source="test",
            at=self.now,
            subject=event.subject,
        )
        async with self.db.transaction() as tx:
            await handlers.HANDLERS[type(event)](heard, tx)
