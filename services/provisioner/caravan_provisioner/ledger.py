"""One cluster's rows during one turn: every change goes through `record`, together with the events that tell of it."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_provisioner import store, telling
from caravan_provisioner.decide import is_complete
from caravan_provisioner.nodes import Node, SetProgress
from caravan_provisioner.plan import Wanted
from caravan_provisioner.power import PowerStep
from caravan_shared.contracts.events import NodesPowerChanged
from caravan_shared.contracts.facts import Connection
from caravan_shared.contracts.spec import ClusterSpec
from caravan_shared.contracts.states import MachineState, Verdict
from caravan_shared.plumbing.errors import GiveUp
from caravan_shared.plumbing.outbox import say
from caravan_shared.plumbing.reconciler import Turn


class Ledger:
    """What the store says of a cluster, and the way to change it."""

    def __init__(
        self, turn: Turn, cluster: store.Cluster, nodes: dict[str, Node], sets: dict[str, SetProgress]
    ) -> None:
        self.cluster, self.nodes, self.sets = cluster, nodes, sets
        self.connection = Connection.SSH
        """How the machines are reached; whoever picks the cloud sets it."""
        self.listed = 0
        """Machines of the cluster in the newest listing."""
        self._turn = turn
        self._stored = dict(nodes)
        self._one_writer = asyncio.Lock()
        self._tell_again_if_asked()

    @classmethod
    async def open(cls, turn: Turn, session: AsyncSession, cluster_id: UUID) -> "Ledger | None":
        """The cluster's ledger, or None where there is nothing left to do for it."""
        cluster = await session.get(store.Cluster, cluster_id)
        if cluster is None or cluster.deleted_at:
            return None
        nodes, sets = await store.nodes_of(session, cluster_id), await store.sets_of(session, cluster_id)
        return cls(turn, cluster, nodes, sets)

    @cached_property
    def spec(self) -> ClusterSpec:
        """What was asked for."""
        return self.cluster.spec

    @property
    def clouds(self) -> tuple[str, ...]:
        """The clouds that the spec names, as far as one was heard of."""
        return self.spec.clouds() if self.cluster.spec_json else ()

    def has_seen(self, trouble_since: datetime) -> bool:
        """Whether a person retried after that trouble began. Nobody looks at what is to go."""
        return not self.deleting and self.wanted().has_seen(trouble_since)

    @property
    def deleting(self) -> bool:
        """The cluster is to go."""
        return self.cluster.deletion_announcement > 0

    @property
    def rests(self) -> bool:
        """It is asleep or being woken: nothing else is done for it meanwhile."""
        return self.cluster.asleep or self.changes_power

    @property
    def changes_power(self) -> bool:
        """Its machines are not, or not surely, as it was last asked to sleep or wake."""
        return self.cluster.power_generation > self.cluster.power_reached

    def wanted(self) -> Wanted:
        """The cluster as it was last asked for."""
        cluster = self.cluster
        return Wanted(
            cluster.cluster_id,
            cluster.name,
            cluster.generation,
            cluster.retry,
            self.spec,
            replace=frozenset(cluster.replacing),
            retried_at=cluster.retried_at,
            verdict=Verdict(cluster.verdict) if cluster.verdict else None,
            rests=self.rests,
        )

    def remaining(self) -> int:
        """How many machines the cloud may still have for the cluster."""
        return max(self.listed, sum(node.state is not MachineState.REMOVED for node in self.nodes.values()))

    async def record(self, nodes: Iterable[Node], sets: Iterable[SetProgress] = ()) -> None:
        """Store changed nodes and sets, and say what the others have to know, in one transaction."""
        async with self._one_writer:
            self.nodes.update((node.name, node) for node in nodes)
            new_sets = {progress.node_set: progress for progress in sets}
            changed_sets = [progress for name, progress in new_sets.items() if self.sets.get(name) != progress]
            self.sets |= new_sets
            await self._write(changed_sets)

    async def record_power(self, step: PowerStep | None, trouble: str | None = None) -> None:
        """Store and say how far sleeping or waking has come, if that is news; `trouble`: why it goes no further."""
        cluster, old = self.cluster, self.cluster.told_power or {}
        power = {
            "power_generation": cluster.power_generation,
            "asleep": cluster.asleep,
            "running": step.running if step else old.get("running", 0),
            "stopped": step.stopped if step else old.get("stopped", 0),
            "complete": step is not None and step.complete,
            "trouble": trouble,
        }
        if power == cluster.told_power:
            return
        cluster.told_power = power
        if power["complete"]:
            cluster.power_reached = cluster.power_generation
        async with self._turn.transaction() as tx:
            await store.save_told(tx, cluster)
            await say(tx, NodesPowerChanged(cluster_id=cluster.cluster_id, **power))

    async def give_up_on(self, nodes: Iterable[Node], error: GiveUp) -> None:
        """Fail nodes that cannot be made, and their sets with them until a person asks again."""
        now = self._turn.now()
        failed = {node.name: node.failed(error.reason, error.who_can_fix, now) for node in nodes}
        lost = {node.node_set for node in failed.values()}
        for node in self.nodes.values():
            # Earlier failures of these sets were told as being replaced, which no longer holds.
            if node.node_set in lost and node.state is MachineState.FAILED:
                failed[node.name] = replace(node, said=None)
        wanted = self.wanted()
        sets = [
            self.sets.get(name) or SetProgress(wanted.cluster_id, name, wanted.generation, wanted.retry)
            for name in lost
        ]
        await self.record(
            failed.values(), [replace(progress, gave_up=True, last_failure_at=now, retry_at=None) for progress in sets]
        )

    def _tell_again_if_asked(self) -> None:
        if self.cluster.announcement > self.cluster.told_announcement:
            self.nodes = {name: telling.untold(node) for name, node in self.nodes.items()}
            self.cluster.complete_generation = 0

    async def _write(self, changed_sets: list[SetProgress]) -> None:
        cluster = self.cluster
        complete = not self.deleting and is_complete(self.spec, self.nodes.values())
        gone = self.deleting and self.remaining() == 0
        untold = [node for node in self.nodes.values() if telling.is_untold(node)]
        facts = telling.events(
            untold,
            telling.Telling(
                cluster_id=cluster.cluster_id,
                generation=cluster.generation,
                connection=self.connection,
                gave_up_sets=frozenset(name for name, progress in self.sets.items() if progress.gave_up),
                remaining=self.remaining(),
                complete=complete,
                say_complete=cluster.complete_generation < cluster.generation,
                say_remaining=gone and cluster.told_deletion < cluster.deletion_announcement,
            ),
        )
        if cluster.told_power and cluster.announcement > cluster.told_announcement:
            facts.append(NodesPowerChanged(cluster_id=cluster.cluster_id, **cluster.told_power))
        self.nodes.update((node.name, telling.told(node)) for node in untold)
        changed = [node for node in self.nodes.values() if node is not self._stored.get(node.name)]
        changed = [node for node in changed if node != self._stored.get(node.name)]
        if not (facts or changed or changed_sets or cluster.announcement > cluster.told_announcement):
            return
        cluster.told_announcement = cluster.announcement
        if complete:
            cluster.complete_generation = cluster.generation
        if gone:
            cluster.told_deletion = cluster.deletion_announcement
        async with self._turn.transaction() as tx:
            await store.save_nodes(tx, self._stored, changed)
            await store.save_sets(tx, changed_sets)
            await store.save_told(tx, cluster)
            await say(tx, *facts)
        self._stored.update((node.name, node) for node in changed)
