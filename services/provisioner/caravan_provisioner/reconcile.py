"""Bring one cluster's machines closer to what was asked for: look, decide, write down, act."""

import secrets
import string
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from caravan_provisioner.clouds.base import Machine
from caravan_provisioner.creation import AskForUserData, Creation, unasked
from caravan_provisioner.decide import decide, decide_deletion
from caravan_provisioner.errors import CloudChanged, UnknownCloud
from caravan_provisioner.ledger import Ledger
from caravan_provisioner.nodes import Node
from caravan_provisioner.observe import observe
from caravan_provisioner.plan import Plan
from caravan_provisioner.settings import Settings
from caravan_provisioner.site import Site
from caravan_shared.contracts.facts import Connection
from caravan_shared.contracts.states import MachineState
from caravan_shared.plumbing.errors import GiveUp
from caravan_shared.plumbing.log import get_logger
from caravan_shared.plumbing.reconciler import Turn

log = get_logger(__name__)

_UNSETTLED = frozenset({MachineState.PLANNED, MachineState.CREATING, MachineState.FAILED, MachineState.DELETING})
_LETTERS = string.ascii_lowercase + string.digits


@dataclass(frozen=True, slots=True)
class _Seen:
    """A cluster's machines by the newest listing of each cloud that may have some."""

    taken_at: datetime
    machines: list[Machine]


class Provisioning:
    """What the reconciler runs for each cluster."""

    def __init__(
        self,
        sites: Mapping[str, Site],
        installation: Callable[[], Awaitable[str]],
        ask: AskForUserData,
        settings: Settings,
    ) -> None:
        self._sites, self._installation, self._ask, self._settings = sites, installation, ask, settings

    async def reconcile(self, turn: Turn) -> float | None:
        """One turn; returns when to look again."""
        ledger = await _open(turn)
        if ledger is None:
            return None
        if ledger.deleting:
            return await self._delete(turn, ledger)
        return await self._provide(turn, ledger)

    async def give_up(self, turn: Turn, error: GiveUp) -> None:
        """Show why nothing can be made: plan what is missing and fail it for that reason."""
        ledger = await _open(turn)
        if ledger is None or ledger.deleting:
            log.error("cannot delete a cluster's machines", reason=error.reason)
            return
        plan = self._decide(ledger, ledger.nodes.values(), turn.now(), max_batch=ledger.spec.node_count())
        await ledger.give_up_on(unasked(plan.nodes.values()), error)

    async def _provide(self, turn: Turn, ledger: Ledger) -> float | None:
        site = self._site_of(ledger)
        can = site.cloud.capabilities
        ledger.connection = can.connection
        seen = await self._look([site], turn, ledger)
        observed = observe(
            ledger.nodes.values(),
            seen.machines,
            seen.taken_at,
            self._settings,
            adopting=True,
            pull=can.user_data and can.pull,
            needs_host_keys=can.connection is Connection.SSH,
            seen_by_a_person=ledger.wanted().has_seen,
        )
        plan = self._decide(ledger, observed.nodes, turn.now(), can.max_batch)
        await ledger.record(plan.nodes.values(), plan.sets.values())
        if ledger.spec.paused:
            return _watch([site], ledger, turn.now())
        await _delete_machines([site], [*plan.delete, *observed.strays])
        wait = await Creation(turn, ledger, site, await self._installation(), self._ask).run()
        return _soonest(wait, _due(plan, turn.now()), _watch([site], ledger, turn.now()))

    async def _delete(self, turn: Turn, ledger: Ledger) -> float | None:
        sites = self._sites_to_empty(ledger)
        seen = await self._look(sites, turn, ledger)
        observed = observe(
            ledger.nodes.values(), seen.machines, seen.taken_at, self._settings, adopting=False, pull=False
        )
        plan = decide_deletion(observed.nodes, turn.now())
        await ledger.record(plan.nodes.values())
        await _delete_machines(sites, {*plan.delete, *observed.strays})
        return _watch(sites, ledger, turn.now()) if ledger.remaining() else None

    def _decide(self, ledger: Ledger, nodes: Iterable[Node], now: datetime, max_batch: int) -> Plan:
        taken = {node.batch for node in ledger.nodes.values()}
        return decide(
            ledger.wanted(),
            nodes,
            ledger.sets,
            now,
            self._settings,
            max_batch=max_batch,
            new_batch=lambda: _new_batch(taken),
        )

    async def _look(self, sites: list[Site], turn: Turn, ledger: Ledger) -> _Seen:
        installation, now = await self._installation(), turn.now()
        taken_at, machines = now, list[Machine]()
        for site in sites:
            listing = await site.inventory.listing(installation, self._oldest_of_use(site, ledger, now))
            taken_at = min(taken_at, listing.taken_at)
            machines.extend(listing.of(ledger.cluster.cluster_id))
        ledger.listed = len(machines)
        return _Seen(taken_at, machines)

    def _oldest_of_use(self, site: Site, ledger: Ledger, now: datetime) -> datetime:
        """How fresh a listing this cluster needs: while nothing is on its way, a shared older one will do."""
        live = [node for node in ledger.nodes.values() if node.state is not MachineState.REMOVED]
        if not live:
            # Machines may be there that a lost store knew: look once before the first create, and for a last time.
            return max(ledger.cluster.heard_at, now - site.inventory.interval())
        if ledger.deleting or any(node.state in _UNSETTLED or node.missing_since for node in live):
            return now - site.inventory.interval()
        return now - timedelta(seconds=self._settings.calm_listing_s)

    def _site_of(self, ledger: Ledger) -> Site:
        cluster, cloud = ledger.cluster, ledger.spec.cloud
        if cluster.cloud and cluster.cloud != cloud:
            raise CloudChanged(cluster.cloud, cloud)
        if cloud not in self._sites:
            raise UnknownCloud(cloud, sorted(self._sites))
        return self._sites[cloud]

    def _sites_to_empty(self, ledger: Ledger) -> list[Site]:
        """The cluster's own cloud, or every one if we never heard which that is."""
        cloud = ledger.cluster.cloud
        if cloud is not None and cloud in self._sites:
            return [self._sites[cloud]]
        if cloud and any(node.machine_id for node in ledger.nodes.values()):
            raise UnknownCloud(cloud, sorted(self._sites))
        return list(self._sites.values())


async def _open(turn: Turn) -> Ledger | None:
    async with turn.reading() as session:
        return await Ledger.open(turn, session, UUID(turn.key))


async def _delete_machines(sites: list[Site], ids: Iterable[str]) -> None:
    unique = sorted(set(ids))
    if not unique:
        return
    for site in sites:
        await site.cloud.delete(unique)
    log.info("machines' deletion asked for", machines=len(unique))


def _watch(sites: list[Site], ledger: Ledger, now: datetime) -> float | None:
    """When a newer listing is worth taking, if anything of the cluster is on its way."""
    on_its_way = ledger.deleting or any(
        node.state in (MachineState.CREATING, MachineState.DELETING) or node.asked_at or node.missing_since
        for node in ledger.nodes.values()
        if node.state not in (MachineState.REMOVED, MachineState.FAILED, MachineState.LEAVING)
    )
    return min((site.inventory.next_in(now) for site in sites), default=None) if on_its_way else None


def _due(plan: Plan, now: datetime) -> float | None:
    return max(0.0, (plan.look_again_at - now).total_seconds()) if plan.look_again_at else None


def _soonest(*waits: float | None) -> float | None:
    return min((wait for wait in waits if wait is not None), default=None)


def _new_batch(taken: set[str]) -> str:
    """Four letters or digits that no batch of the cluster has had."""
    while True:
        batch = "".join(secrets.choice(_LETTERS) for _ in range(4))
        if batch not in taken:
            taken.add(batch)
            return batch
