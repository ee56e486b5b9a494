"""The dns service, wired: which facts it hears, what it answers, what it reconciles."""

from pathlib import Path

import dns.name
import dns.tsig

from caravan_dns import handlers, pki, store
from caravan_dns.credentials import Credentials
from caravan_dns.grants import Grants
from caravan_dns.reconcile import Endpoints
from caravan_dns.settings import Settings
from caravan_dns.zones.base import Zone
from caravan_dns.zones.designate import DesignateZone
from caravan_dns.zones.embedded import EmbeddedZone
from caravan_dns.zones.null import NullZone
from caravan_dns.zones.rfc2136 import Rfc2136Zone
from caravan_shared.contracts.events import (
    BootstrapStarted,
    ClusterDeleted,
    ClusterDeletionRequested,
    ClusterRequested,
    NodesHealthChanged,
    NodesJoined,
    NodesLeaving,
    NodesReady,
    NodesRemoved,
)
from caravan_shared.contracts.facts import Finding
from caravan_shared.contracts.requests import (
    AskClientCertificate,
    AskClusterPki,
    AskKubeconfig,
    AskRevoke,
    AskRevokeAll,
)
from caravan_shared.plumbing.service import Service

MIGRATIONS = Path(__file__).with_name("migrations")


def build(settings: Settings) -> Service:
    """Everything that the service touches."""
    service = Service("dns", settings, metadata=store.Table.metadata, migrations=MIGRATIONS)
    zone = _zone(service, settings)
    credentials = Credentials(service.db, service.keys, service.clock, settings)
    grants = Grants(credentials, service.wake)
    endpoints = Endpoints(zone, service.keys, grants, settings)

    service.hears(ClusterRequested, handlers.cluster_requested)
    service.hears(ClusterDeletionRequested, handlers.cluster_deletion_requested)
    service.hears(ClusterDeleted, handlers.cluster_deleted)
    service.hears(BootstrapStarted, handlers.bootstrap_started)
    service.hears(NodesReady, handlers.nodes_ready)
    service.hears(NodesJoined, handlers.nodes_joined)
    service.hears(NodesLeaving, handlers.nodes_leaving)
    service.hears(NodesRemoved, handlers.nodes_removed)
    service.hears(NodesHealthChanged, handlers.nodes_health_changed)

    service.answers(AskClusterPki, credentials.cluster_pki)
    service.answers(AskClientCertificate, credentials.client_certificate)
    service.answers(AskKubeconfig, grants.issue)
    service.answers(AskRevoke, grants.revoke)
    service.answers(AskRevokeAll, grants.revoke_all)

    async def authorities() -> list[Finding]:
        async with service.db.reading() as session:
            return await pki.expiring(session, service.clock.now())

    service.looks_after(authorities)
    service.reconciles(endpoints.reconcile, give_up=endpoints.record_failure, live_keys=store.live_keys)
    return service


def _zone(service: Service, settings: Settings) -> Zone:
    """The zone that the settings choose; the embedded one runs beside the service."""
    if settings.zone == "null":
        return NullZone()
    if settings.zone == "designate":
        return DesignateZone(settings.zone_origin, settings.designate_cloud, settings.designate_clouds_file)
    if settings.zone == "rfc2136":
        assert settings.rfc2136_key_file
        secret = settings.rfc2136_key_file.read_text().strip()
        key = dns.tsig.Key(settings.rfc2136_key_name, secret, settings.rfc2136_key_algorithm)
        return Rfc2136Zone(settings.zone_origin, settings.rfc2136_server, settings.rfc2136_port, key)
    zone = EmbeddedZone(
        service.db, settings.zone_origin, settings.embedded_host, settings.embedded_port, settings.record_ttl_s
    )
    service.alongside("zone", zone.run)
    return zone
