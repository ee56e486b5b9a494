"""Bring one cluster's machines closer to what was asked for: look, decide, write down, act."""

import secrets
import string
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from caravan_provisioner.clouds.base import Capabilities, Cloud, CloudMachineState, CloudRefused, Rebootable, Stoppable
from caravan_provisioner.creation import AskForUserData, Creation, unasked
from caravan_provisioner.decide import decide, decide_deletion
from caravan_provisioner.errors import CloudChanged, CloudsApart, UnknownCloud
from caravan_provisioner.fleet import Fleet
from caravan_provisioner.inventory import Listing
from caravan_provisioner.ledger import Ledger
from caravan_provisioner.nodes import Node
from caravan_provisioner.observe import Observation, observe
from caravan_provisioner.plan import Batching, Outlook, Plan
from caravan_provisioner.power import power_step
from caravan_provisioner.rebooting import Rebooting
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
    """What the newest listings of a cluster's clouds say: its nodes, and ids of machines that none needs, by cloud."""

    nodes: list[Node]
    strays: dict[str, list[str]]
    states: dict[str, CloudMachineState]
    """What the clouds say of each machine, by its id."""
    power_problems: dict[str, str]
    """Why machines cannot be rebooted though their clouds can, by their ids."""


class Provisioning:
    """What the reconciler runs for each cluster."""

    def __init__(
        self,
        sites: Mapping[str, Site],
        installation: Callable[[], Awaitable[str]],
        ask: AskForUserData,
        fleet: Fleet,
        settings: Settings,
    ) -> None:
        self._sites, self._installation, self._ask, self._settings = sites, installation, ask, settings
        self._fleet = fleet

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
        if ledger.rests:
            await ledger.record_power(None, error.reason)
            return
        plan = self._decide(ledger, ledger.nodes.values(), turn.now(), Batching(ledger.spec.node_count()))
        await ledger.give_up_on(unasked(plan.nodes.values()), error)

    async def _provide(self, turn: Turn, ledger: Ledger) -> float | None:
        sites = self._sites_of(ledger)
        ledger.connection = sites[0].cloud.capabilities.connection
        seen = await self._look(sites, turn, ledger, adopting=True)
        plan = self._decide(ledger, seen.nodes, turn.now(), _batching(sites), await self._outlook(sites, seen))
        await ledger.record(plan.nodes.values(), plan.sets.values())
        if ledger.rests:
            await _delete_machines(sites, plan, seen)
            return await self._set_power(sites, turn, ledger, seen)
        if ledger.spec.paused:
            return _watch(sites, ledger, turn.now())
        by_name = {site.cloud.name: site for site in sites}
        reboots = await Rebooting(turn, ledger, by_name).run(plan.reboots)
        await _delete_machines(sites, plan, seen)
        creates = await Creation(turn, ledger, by_name, await self._installation(), self._ask).run()
        return _soonest(reboots, creates, _due(plan, turn.now()), _watch(sites, ledger, turn.now()))

    async def _set_power(self, sites: list[Site], turn: Turn, ledger: Ledger, seen: _Seen) -> float | None:
        """Have the machines stopped or started that are not as they shall be, and tell how far that is."""
        asleep = ledger.cluster.asleep
        since_s = (turn.now() - (ledger.cluster.power_asked_at or turn.now())).total_seconds()
        step = power_step(ledger.nodes.values(), seen.states, asleep=asleep, since_s=since_s, limits=self._settings)
        await ledger.record_power(step)
        for site in sites:
            ids = sorted(node.machine_id for node in step.switch if node.cloud == site.cloud.name and node.machine_id)
            if ids:
                await _switch(site.cloud, ids, on=not asleep)
        if step.complete:
            return None if asleep else 0.0  # awake, it may need more than to be awake
        return min(site.inventory.next_in(turn.now()) for site in sites)

    async def _delete(self, turn: Turn, ledger: Ledger) -> float | None:
        sites = self._sites_to_empty(ledger)
        seen = await self._look(sites, turn, ledger, adopting=False)
        plan = decide_deletion(seen.nodes, turn.now())
        await ledger.record(plan.nodes.values())
        await _delete_machines(sites, plan, seen)
        return _watch(sites, ledger, turn.now()) if ledger.remaining() else None

    async def _outlook(self, sites: Iterable[Site], seen: _Seen) -> Outlook:
        if not any(node.is_silent for node in seen.nodes):
            return Outlook()
        clouds = {site.cloud.name for site in sites if isinstance(site.cloud, Rebootable)}
        running = [node for node in seen.nodes if seen.states.get(node.machine_id or "") is CloudMachineState.ACTIVE]
        problems = {node.name: why for node in running if (why := seen.power_problems.get(node.machine_id or ""))}
        rebootable = frozenset(node.name for node in running if node.cloud in clouds and node.name not in problems)
        return Outlook(rebootable, await self._fleet.storms(), problems)

    def _decide(
        self, ledger: Ledger, nodes: Iterable[Node], now: datetime, batching: Batching, outlook: Outlook = Outlook()
    ) -> Plan:
        taken = {node.batch for node in ledger.nodes.values()}
        return decide(
            ledger.wanted(),
            nodes,
            ledger.sets,
            now,
            self._settings,
            batching=batching,
            new_batch=lambda: _new_batch(taken),
            outlook=outlook,
        )

    async def _look(self, sites: list[Site], turn: Turn, ledger: Ledger, *, adopting: bool) -> _Seen:
        """Each cloud's listing speaks of the nodes on that cloud alone."""
        installation, now = await self._installation(), turn.now()
        looked_at = {site.cloud.name for site in sites}
        elsewhere = [node for node in ledger.nodes.values() if node.cloud not in looked_at]
        # Of clouds that are not there, no node ever had a machine (see `_sites_to_empty`).
        nodes = observe(elsewhere, [], now, self._settings, adopting=False, pull=False).nodes
        strays, states, listed = dict[str, list[str]](), dict[str, CloudMachineState](), 0
        problems = dict[str, str]()
        for site in sites:
            listing = await site.inventory.listing(installation, self._oldest_of_use(site, ledger, now))
            machines = listing.of(ledger.cluster.cluster_id)
            listed += len(machines)
            states |= {machine.id: machine.state for machine in machines}
            problems |= {machine.id: machine.power_problem for machine in machines if machine.power_problem}
            observed = self._observe(site, listing, ledger, adopting=adopting)
            nodes.extend(observed.nodes)
            strays[site.cloud.name] = observed.strays
        ledger.listed = listed
        return _Seen(nodes, strays, states, problems)

    def _observe(self, site: Site, listing: Listing, ledger: Ledger, *, adopting: bool) -> Observation:
        can: Capabilities = site.cloud.capabilities
        return observe(
            [node for node in ledger.nodes.values() if node.cloud == site.cloud.name],
            listing.of(ledger.cluster.cluster_id),
            listing.taken_at,
            self._settings,
            adopting=adopting,
            pull=can.user_data and can.pull,
            cloud=site.cloud.name,
            needs_host_keys=can.connection is Connection.SSH,
            seen_by_a_person=ledger.has_seen,
            rests=ledger.rests,
        )

    def _oldest_of_use(self, site: Site, ledger: Ledger, now: datetime) -> datetime:
        """How fresh a listing this cluster needs: while nothing is on its way, a shared older one will do."""
        live = [node for node in ledger.nodes.values() if node.state is not MachineState.REMOVED]
        if not live:
            # Machines may be there that a lost store knew: look once before the first create, and for a last time.
            return max(ledger.cluster.heard_at, now - site.inventory.interval())
        is_calm = not any(
            node.state in _UNSETTLED or node.missing_since or node.reboot_is_open or node.is_dead for node in live
        )
        if ledger.deleting or ledger.changes_power or not is_calm:
            return now - site.inventory.interval()
        return now - timedelta(seconds=self._settings.calm_listing_s)

    def _sites_of(self, ledger: Ledger) -> list[Site]:
        """The clouds that the spec names and those that nodes are still on, the cluster's own first."""
        cluster, spec = ledger.cluster, ledger.spec
        if cluster.cloud and cluster.cloud != spec.cloud:
            raise CloudChanged(cluster.cloud, spec.cloud)
        wanted = {node_set.name: node_set.cloud for node_set in spec.node_sets()}
        present = [node for node in ledger.nodes.values() if node.state is not MachineState.REMOVED]
        for node in present:
            if wanted.get(node.node_set, node.cloud) != node.cloud:
                raise CloudChanged(node.cloud, wanted[node.node_set])
        names = list(dict.fromkeys([*spec.clouds(), *(node.cloud for node in present)]))
        if unknown := [name for name in names if name not in self._sites]:
            raise UnknownCloud(unknown[0], sorted(self._sites))
        sites = [self._sites[name] for name in names]
        if len({site.cloud.capabilities.connection for site in sites}) > 1:
            raise CloudsApart(names)
        return sites

    def _sites_to_empty(self, ledger: Ledger) -> list[Site]:
        """Every cloud that may have machines of the cluster: all there are if we never heard which those are."""
        if ledger.cluster.cloud is None:
            return list(self._sites.values())
        of_nodes = {node.cloud for node in ledger.nodes.values() if node.machine_id}
        if lost := sorted(of_nodes - self._sites.keys()):
            raise UnknownCloud(lost[0], sorted(self._sites))
        names = {ledger.cluster.cloud, *ledger.clouds, *(node.cloud for node in ledger.nodes.values())}
        return [site for name, site in self._sites.items() if name in names] or list(self._sites.values())


async def _open(turn: Turn) -> Ledger | None:
    async with turn.reading() as session:
        return await Ledger.open(turn, session, UUID(turn.key))


async def _delete_machines(sites: list[Site], plan: Plan, seen: _Seen) -> None:
    """Ask each cloud for the deletion of what is on it."""
    doomed = defaultdict[str, set[str]](set, {cloud: set(ids) for cloud, ids in seen.strays.items()})
    clouds = {node.machine_id: node.cloud for node in plan.nodes.values()}
    for machine_id in plan.delete:
        doomed[clouds[machine_id]].add(machine_id)
    for site in sites:
        if ids := sorted(doomed[site.cloud.name]):
            await site.cloud.delete(ids)
            log.info("machines' deletion asked for", cloud=site.cloud.name, machines=len(ids))


async def _switch(cloud: Cloud, ids: list[str], *, on: bool) -> None:
    if not isinstance(cloud, Stoppable):  # its offers said so, and admission asked; it was configured anew since
        raise CloudRefused(cloud.name, "its machines cannot be stopped or started")
    await (cloud.start(ids) if on else cloud.stop(ids))
    log.info(f"machines' {'start' if on else 'stop'} asked for", cloud=cloud.name, machines=len(ids))


def _watch(sites: list[Site], ledger: Ledger, now: datetime) -> float | None:
    """When a newer listing is worth taking, if anything of the cluster is on its way."""
    on_its_way = ledger.deleting or any(
        node.state in (MachineState.CREATING, MachineState.DELETING)
        or node.asked_at
        or node.missing_since
        or node.reboot_is_open
        for node in ledger.nodes.values()
        if node.state not in (MachineState.REMOVED, MachineState.FAILED, MachineState.LEAVING)
    )
    return min((site.inventory.next_in(now) for site in sites), default=None) if on_its_way else None


def _due(plan: Plan, now: datetime) -> float | None:
    return max(0.0, (plan.look_again_at - now).total_seconds()) if plan.look_again_at else None


def _soonest(*waits: float | None) -> float | None:
    return min((wait for wait in waits if wait is not None), default=None)


def _batching(sites: Iterable[Site]) -> Batching:
    can = [site.cloud.capabilities for site in sites]
    return Batching(min(each.max_batch for each in can), max(each.zones for each in can))


def _new_batch(taken: set[str]) -> str:
    """Four letters or digits that no batch of the cluster has had."""
    while True:
        batch = "".join(secrets.choice(_LETTERS) for _ in range(4))
        if batch not in taken:
            taken.add(batch)
            return batch
