"""Bring one cluster's name and credentials to where they should be: a table of contents.

Each turn looks at everything again, so a record that somebody deleted comes back, a failed update is tried again, and
a failure that somebody mended ends by itself.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_dns import pki, store
from caravan_dns.authority import make_pki
from caravan_dns.decide import ControlPlaneNode, endpoint_addresses, record_addresses
from caravan_dns.grants import Grants, facts_of
from caravan_dns.names import endpoint_host
from caravan_dns.settings import Settings
from caravan_dns.store import Cluster, Node
from caravan_dns.zones.base import Owner, Zone
from caravan_shared.contracts.events import EndpointFailed, EndpointIssued, EndpointWithdrawn
from caravan_shared.contracts.states import Verdict
from caravan_shared.plumbing.errors import GiveUp
from caravan_shared.plumbing.log import get_logger
from caravan_shared.plumbing.outbox import say
from caravan_shared.plumbing.reconciler import Turn
from caravan_shared.plumbing.sealing import KeyRing

TOMBSTONE_KEPT = timedelta(days=7)
"""Longer than the bus keeps an event, so that no late one revives a deleted cluster."""

log = get_logger(__name__)


@dataclass(frozen=True)
class Endpoints:
    """Reconciles clusters' endpoints; wired up in `app`."""

    zone: Zone
    keys: KeyRing
    grants: Grants
    settings: Settings

    async def reconcile(self, turn: Turn) -> float | None:
        """One look at one cluster; seconds until the next is due by the clock alone."""
        cluster_id = UUID(turn.key)
        async with turn.reading() as session:
            cluster = await session.get(Cluster, cluster_id)
            nodes = await store.nodes_of(session, cluster_id)
        if cluster is None:
            return None
        if cluster.deleted_at:
            await self._withdraw(turn, cluster)
            return await _forget(turn, cluster, cluster.deleted_at)
        try:
            await self._set_endpoint(turn, cluster, nodes)
        finally:  # a zone that is away must not keep revoked access open
            due_in_s = await self.grants.close_due(turn, cluster_id)
        return due_in_s

    async def record_failure(self, turn: Turn, error: GiveUp) -> None:
        """Say that a person is needed: once a reason, and again whenever all is told again."""
        async with turn.transaction() as tx:
            cluster = await store.cluster_for_update(tx, UUID(turn.key))
            if cluster.failure == error.reason and cluster.answered >= cluster.tellings:
                return
            cluster.failure, cluster.answered = error.reason, cluster.tellings
            await say(tx, EndpointFailed(cluster_id=cluster.id, reason=error.reason, who_can_fix=error.who_can_fix))

    async def _set_endpoint(self, turn: Turn, cluster: Cluster, nodes: list[Node]) -> None:
        if cluster.deletion_announcement:
            await self._withdraw(turn, cluster)
        elif cluster.announcement:
            if not cluster.host:
                cluster = await self._make_authority(turn, cluster)
            await self._keep_endpoint(turn, cluster, nodes)

    async def _make_authority(self, turn: Turn, cluster: Cluster) -> Cluster:
        async with turn.transaction() as tx:
            row = await store.cluster_for_update(tx, cluster.id)
            await pki.keep(tx, self.keys, row.id, make_pki(turn.now()))
            row.host = self._host(row)
            await tx.flush()
            await self._say_issued(tx, row, ())
        log.info("authority made", cluster=turn.key, host=row.host)
        return row

    async def _keep_endpoint(self, turn: Turn, cluster: Cluster, nodes: list[Node]) -> None:
        """The zone first: whoever hears of an address may ask for the name at once."""
        addresses = endpoint_addresses([_as_seen(node) for node in nodes], cluster.first_node)
        record = record_addresses(addresses, cluster.virtual_ip)
        if await self.zone.ensure(cluster.host, record, self.settings.record_ttl_s, self._owner(cluster)):
            log.info("record set", cluster=turn.key, host=cluster.host, addresses=record)
        issued = (tuple(cluster.issued_addresses), cluster.issued_virtual_ip)
        unchanged = issued == (addresses, cluster.virtual_ip) and not cluster.failure
        if unchanged and cluster.answered >= cluster.tellings:
            return
        async with turn.transaction() as tx:
            row = await store.cluster_for_update(tx, cluster.id)
            if row.answered < row.tellings:
                await say(tx, *facts_of(await store.grants_of(tx, row.id)))
            await self._say_issued(tx, row, addresses)

    async def _say_issued(self, tx: AsyncSession, row: Cluster, addresses: tuple[str, ...]) -> None:
        row.issued_addresses, row.issued_virtual_ip = list(addresses), row.virtual_ip
        row.failure, row.answered = None, row.tellings
        await say(
            tx,
            EndpointIssued(
                cluster_id=row.id,
                host=row.host,
                port=self.settings.apiserver_port,
                addresses=addresses,
                virtual_ip=row.virtual_ip,
                zone=self.zone.kind,
                resolvable=self.settings.names_resolve,
                ca_certificate=await pki.ca_certificate(tx, row.id),
            ),
        )

    async def _withdraw(self, turn: Turn, cluster: Cluster) -> None:
        if cluster.name and not cluster.withdrawn:
            await self.zone.remove(self._host(cluster), self._owner(cluster))
        if cluster.withdrawn and cluster.answered >= cluster.tellings:
            return
        async with turn.transaction() as tx:
            row = await store.cluster_for_update(tx, cluster.id)
            row.withdrawn, row.failure, row.answered = True, None, row.tellings
            await say(tx, EndpointWithdrawn(cluster_id=row.id))
        log.info("endpoint withdrawn", cluster=turn.key, host=cluster.host)

    def _host(self, cluster: Cluster) -> str:
        """The name it was given, or would be: a lost store must not hide a record from its removal."""
        settings = self.settings
        return cluster.host or endpoint_host(
            settings.endpoint_template, name=cluster.name, team=cluster.team, origin=settings.zone_origin
        )

    def _owner(self, cluster: Cluster) -> Owner:
        return Owner(self.settings.installation, str(cluster.id))


async def _forget(turn: Turn, cluster: Cluster, deleted_at: datetime) -> float | None:
    """Remove the tombstone in time; seconds until then."""
    left = (deleted_at + TOMBSTONE_KEPT - turn.now()).total_seconds()
    if left > 0:
        return left
    async with turn.transaction() as tx:
        await tx.delete(cluster)
    return None


def _as_seen(node: Node) -> ControlPlaneNode:
    return ControlPlaneNode(
        name=node.name,
        address=node.address,
        joined=node.joined,
        leaving=node.leaving,
        verdict=Verdict(node.verdict),
    )
