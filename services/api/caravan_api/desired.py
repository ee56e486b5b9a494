"""What people want of their clusters: create, change, retry, hibernate, wake, delete. Every door ends here.

Each is one transaction with its outgoing event: what was acknowledged is stored, and told.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy.exc import IntegrityError
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_api.admission import Limits, NotAdmitted, admit, name_taken, sleep_problems, virtual_ip_taken
from caravan_api.decide.facts import Facts
from caravan_api.errors import Conflict, NotYet
from caravan_api.offers import offered_clouds, surroundings
from caravan_api.recorder import Recorder, node_sets, recount
from caravan_api.store import Cluster
from caravan_api.timeline import Entry, change_sentence, utc
from caravan_shared.contracts.events import ClusterDeletionRequested, ClusterExpiring, ClusterRequested
from caravan_shared.contracts.facts import ClusterEvent, FieldProblem, WhoCanFix
from caravan_shared.contracts.spec import ClusterSpec
from caravan_shared.contracts.states import ClusterPhase
from caravan_shared.plumbing import traces
from caravan_shared.plumbing.clock import Clock
from caravan_shared.plumbing.errors import GiveUp
from caravan_shared.plumbing.outbox import say

SOURCE = "api"


def announcement(cluster: Cluster) -> ClusterEvent:
    """The cluster's desired state as the other services hear it."""
    about = _about(cluster)
    if cluster.deletion_asked_at:
        return ClusterDeletionRequested(**about, announcement=cluster.announcement)
    return ClusterRequested(
        **about,
        generation=cluster.generation,
        announcement=cluster.announcement,
        spec=ClusterSpec.model_validate(cluster.spec),
        retry=cluster.retry,
        replace=tuple(cluster.replacing),
        asleep=cluster.asleep,
        power_generation=cluster.power_generation,
    )


class BeingDeleted(GiveUp):
    """A cluster that is to be deleted cannot be changed, and one that is gone cannot be retried."""

    def __init__(self, cluster: Cluster) -> None:
        how_far = "deleted" if cluster.deleted_at else "being deleted"
        super().__init__(f"the cluster {cluster.name} is {how_far}", who_can_fix=WhoCanFix.USER)


class Asleep(Conflict):
    """Nothing can be done to a cluster whose machines are stopped but to wake or delete it."""

    def __init__(self, cluster: Cluster, what: str) -> None:
        super().__init__(f"the cluster {cluster.name} is asleep: wake it first, then {what}")


class Desired:
    """Changes what is wanted. Callers hold the cluster's lock and commit."""

    def __init__(self, recorder: Recorder, limits: Limits, clock: Clock) -> None:
        self._recorder, self._limits, self._clock = recorder, limits, clock

    async def create(
        self,
        tx: AsyncSession,
        team: str,
        user: str,
        request: Mapping[str, Any],
        *,
        pool_id: UUID | None = None,
        lifetime_s: int | None = None,
    ) -> Cluster:
        """Admit `{"name", "spec"}` and want that cluster, of a pool if one is named, for so long if that is limited.

        Raises `NotAdmitted`, `NothingOfferedYet`.
        """
        name = request.get("name")
        known = name if isinstance(name, str) and name.isascii() and name.isprintable() else None
        around = await surroundings(tx, self._limits, team, name=known)
        spec = admit(request, around)
        cluster = self._new(team, user, str(name), spec, simulated=around.clouds[spec.cloud].simulated)
        cluster.pool_id = pool_id
        self._set_lifetime(cluster, lifetime_s)
        tx.add(cluster)
        try:
            await tx.flush()
        except IntegrityError as error:
            raise NotAdmitted((_taken_meanwhile(cluster, error),)) from error
        text = f"{user} asked for the cluster: {spec.node_count()} nodes with Kubernetes {spec.version}"
        await self._recorder.record(tx, cluster, SOURCE, Entry("requested", text, {"user": user}))
        await traces.keep(tx, str(cluster.id))
        await say(tx, announcement(cluster))
        return cluster

    async def change(self, tx: AsyncSession, cluster: Cluster, user: str, spec: Mapping[str, Any]) -> bool:
        """Admit a new spec and want that; False if it is wanted already.

        Raises `NotAdmitted`, `BeingDeleted`, `Asleep`.
        """
        if cluster.deletion_asked_at:
            raise BeingDeleted(cluster)
        if cluster.asleep:
            raise Asleep(cluster, "change it")
        around = await surroundings(tx, self._limits, cluster.team, cluster=cluster)
        admitted = admit({"spec": spec}, around)
        before = ClusterSpec.model_validate(cluster.spec)
        if admitted == before:
            return False
        cluster.spec = admitted.kept()
        cluster.nodes_wanted = admitted.node_count()
        cluster.generation += 1
        await recount(tx, cluster)
        text = change_sentence(user, before, admitted)
        await self._tell(tx, cluster, Entry("changed", text, {"user": user, "generation": cluster.generation}))
        return True

    async def replace_node(self, tx: AsyncSession, cluster: Cluster, user: str, node: str, reason: str | None) -> bool:
        """Want another node in this one's place; False if that is wanted already. Raises `BeingDeleted`, `Asleep`."""
        if cluster.deletion_asked_at:
            raise BeingDeleted(cluster)
        if cluster.asleep:
            raise Asleep(cluster, "replace its node")
        if node in cluster.replacing:
            return False
        cluster.replacing = sorted([*cluster.replacing, node])
        why = f": {reason}" if reason else ""
        await self._tell(
            tx, cluster, Entry("replace", f"{user} asked to replace {node}{why}", {"user": user, "node": node})
        )
        return True

    async def limit_lifetime(self, tx: AsyncSession, cluster: Cluster, user: str, lifetime_s: int | None) -> None:
        """Have it deleted in so many seconds, whatever was said before; None: never. Raises `BeingDeleted`."""
        if cluster.deletion_asked_at:
            raise BeingDeleted(cluster)
        self._set_lifetime(cluster, lifetime_s)
        cluster.revision += 1
        until = f"until {utc(cluster.expires_at)}" if cluster.expires_at else "without an end"
        await self._recorder.record(
            tx, cluster, SOURCE, Entry("lifetime", f"{user} lets it live {until}", {"user": user})
        )

    async def warn_of_end(self, tx: AsyncSession, cluster: Cluster) -> None:
        """Tell its owners that it ends soon, once."""
        assert cluster.expires_at is not None, "only what ends is warned of"
        cluster.expiry_told = True
        text = f"It is deleted at {utc(cluster.expires_at)} unless someone extends its life"
        await self._recorder.record(tx, cluster, SOURCE, Entry("lifetime", text))
        await say(tx, ClusterExpiring(**_about(cluster), expires_at=cluster.expires_at))

    async def retry(self, tx: AsyncSession, cluster: Cluster, user: str) -> None:
        """Lift the failures so far, and tell every service to try again."""
        if cluster.deleted_at:
            raise BeingDeleted(cluster)
        cluster.retry += 1
        cluster.retried_at = self._clock.now()
        await self._tell(tx, cluster, Entry("retry", f"{user} asked to try again", {"user": user}))

    async def hibernate(self, tx: AsyncSession, cluster: Cluster, user: str) -> bool:
        """Want its machines stopped; False if that is wanted already.

        Raises `BeingDeleted`, `NotAdmitted` where a cloud cannot stop machines, `NotYet` while other work is under way.
        """
        if cluster.deletion_asked_at:
            raise BeingDeleted(cluster)
        if cluster.asleep:
            return False
        clouds = await offered_clouds(tx)
        if problems := tuple(sleep_problems(ClusterSpec.model_validate(cluster.spec), clouds, "spec.cloud")):
            raise NotAdmitted(problems)
        if cluster.phase not in (ClusterPhase.READY, ClusterPhase.WAKING):
            raise NotYet(f"the cluster {cluster.name} is {cluster.phase}: put it to sleep once it is Ready")
        cluster.asleep, cluster.woken_at = True, None
        cluster.power_generation += 1
        await self._tell(tx, cluster, Entry("power", f"{user} puts it to sleep", {"user": user, "asleep": True}))
        return True

    async def wake(self, tx: AsyncSession, cluster: Cluster, user: str) -> bool:
        """Want its machines started again; False if it is not asleep. Raises `BeingDeleted`."""
        if cluster.deletion_asked_at:
            raise BeingDeleted(cluster)
        if not cluster.asleep:
            return False
        cluster.asleep, cluster.woken_at = False, self._clock.now()
        cluster.power_generation += 1
        await self._tell(tx, cluster, Entry("power", f"{user} wakes it", {"user": user, "asleep": False}))
        return True

    async def delete(self, tx: AsyncSession, cluster: Cluster, user: str, why: str | None = None) -> None:
        """Want the cluster no more. From any state; asking twice is once."""
        if cluster.deletion_asked_at:
            return
        cluster.deletion_asked_at = self._clock.now()
        text = f"{user} asked to delete the cluster{f': {why}' if why else ''}"
        await self._tell(tx, cluster, Entry("deletion", text, {"user": user}))

    def _set_lifetime(self, cluster: Cluster, lifetime_s: int | None) -> None:
        now = self._clock.now()
        cluster.expires_at = None if lifetime_s is None else now + timedelta(seconds=lifetime_s)
        cluster.lifetime_said_at, cluster.expiry_told = now, False

    async def _tell(self, tx: AsyncSession, cluster: Cluster, entry: Entry) -> None:
        cluster.revision += 1
        cluster.unanswered = 0
        await self._recorder.record(tx, cluster, SOURCE, entry)
        await traces.keep(tx, str(cluster.id))
        await self.announce(tx, cluster)

    async def announce(self, tx: AsyncSession, cluster: Cluster) -> None:
        """Say the desired state once more, with a higher number."""
        cluster.announcement += 1
        cluster.announced_at = self._clock.now()
        tx.add(cluster)
        await say(tx, announcement(cluster))

    def _new(self, team: str, user: str, name: str, spec: ClusterSpec, *, simulated: bool) -> Cluster:
        now = self._clock.now()
        return Cluster(
            id=uuid4(),
            team=team,
            name=name,
            created_by=user,
            created_at=now,
            updated_at=now,
            announced_at=now,
            spec=spec.kept(),
            facts=Facts().model_dump(mode="json"),
            phase=ClusterPhase.REQUESTED.value,
            version=spec.version,
            cloud=spec.cloud,
            **_virtual_ip(spec),
            simulated=simulated,
            nodes_wanted=spec.node_count(),
            node_sets=node_sets(spec, {}),
        )


def _about(cluster: Cluster) -> dict[str, Any]:
    return {"cluster_id": cluster.id, "team": cluster.team, "name": cluster.name}


def _virtual_ip(spec: ClusterSpec) -> dict[str, Any]:
    address, control_plane = spec.network.virtual_ip, spec.node_sets()[0]
    return {"virtual_ip": str(address), "virtual_ip_cloud": control_plane.cloud} if address else {}


def _taken_meanwhile(cluster: Cluster, error: IntegrityError) -> FieldProblem:
    """What someone else took between our look and our insert: both databases name the column."""
    if "virtual_ip" in str(error.orig):
        return virtual_ip_taken(cluster.virtual_ip, cluster.virtual_ip_cloud)
    return name_taken(cluster.name)
