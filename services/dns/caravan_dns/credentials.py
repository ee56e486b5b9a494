"""Answer for a cluster's credentials: the authority for its control-plane nodes, certificates for our own services."""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from caravan_dns import pki
from caravan_dns.authority import CA_LIFETIME, KeyPair, Pki, Subject, ca_hash, sign_client
from caravan_dns.errors import NoSuchCluster, NotYet
from caravan_dns.kubeconfigs import Endpoint
from caravan_dns.settings import Settings
from caravan_dns.store import Cluster
from caravan_shared.contracts.requests import (
    AskClientCertificate,
    AskClusterPki,
    ClientCertificate,
    ClusterPki,
)
from caravan_shared.plumbing.clock import Clock
from caravan_shared.plumbing.database import Database
from caravan_shared.plumbing.sealing import KeyRing

HEALTH = Subject(user="caravan-health", group="caravan:health")
BOOTSTRAPPER = Subject(user="caravan-bootstrapper", group="caravan:bootstrapper")
CILIUM_ETCD = Subject(user="cilium-etcd-client", group="cilium")
OURSELVES = Subject(user="caravan-dns", group="system:masters")

_PURPOSES = {"health": HEALTH, "bootstrapper": BOOTSTRAPPER}


@dataclass(frozen=True)
class Issuer:
    """One cluster's endpoint and opened authority, together for as long as one answer takes."""

    cluster: str
    endpoint: Endpoint
    pki: Pki


@dataclass(frozen=True)
class Credentials:
    """The answers, and the authority that they and the grants are made from."""

    database: Database
    keys: KeyRing
    clock: Clock
    settings: Settings

    async def cluster_pki(self, request: AskClusterPki) -> ClusterPki:
        """All that a control-plane node needs to start. Raises NotYet, NoSuchCluster."""
        issuer = await self.issuer(request.cluster_id)
        parts = issuer.pki
        return ClusterPki(
            ca_cert=parts.ca.public,
            ca_key=parts.ca.key,
            etcd_ca_cert=parts.etcd_ca.public,
            etcd_ca_key=parts.etcd_ca.key,
            front_proxy_ca_cert=parts.front_proxy_ca.public,
            front_proxy_ca_key=parts.front_proxy_ca.key,
            service_account_key=parts.service_account.key,
            service_account_public_key=parts.service_account.public,
            ca_hash=ca_hash(parts.ca.public),
            endpoint=f"{issuer.endpoint.host}:{issuer.endpoint.port}",
        )

    async def client_certificate(self, request: AskClientCertificate) -> ClientCertificate:
        """A certificate for health, which can only read, the bootstrapper, or Cilium. Raises NotYet, NoSuchCluster."""
        issuer = await self.issuer(request.cluster_id)
        if request.purpose == "cilium-etcd":
            # As long as its CA lasts: agents read it when they start, and nothing else would make them.
            ca, subject, lifetime = issuer.pki.etcd_ca, CILIUM_ETCD, CA_LIFETIME
        else:
            ca, subject = issuer.pki.ca, _PURPOSES[request.purpose]
            lifetime = timedelta(seconds=self.settings.own_certificate_s)
        pair, not_after = sign_client(ca, subject, self.clock.now(), lifetime)
        return ClientCertificate(ca_cert=ca.public, cert=pair.public, key=pair.key, not_after=not_after)

    async def issuer(self, cluster_id: UUID, *, even_leaving: bool = False) -> Issuer:
        """The cluster's endpoint and authority. Raises NotYet before they are made, NoSuchCluster once they must go.

        `even_leaving`: only once they are gone; access is taken back as long as there is something to have access to.
        """
        async with self.database.reading() as session:
            cluster = await session.get(Cluster, cluster_id)
            if cluster and (cluster.deleted_at or (cluster.deletion_announcement and not even_leaving)):
                raise NoSuchCluster(cluster_id)
            if cluster is None or not cluster.host:
                raise NotYet(f"the authority of cluster {cluster_id} is not made yet")
            parts = await pki.opened(session, self.keys, cluster_id)
        endpoint = Endpoint(
            host=cluster.host,
            port=self.settings.apiserver_port,
            addresses=tuple(cluster.issued_addresses),
            virtual_ip=cluster.virtual_ip,
            resolvable=self.settings.names_resolve,
        )
        return Issuer(cluster.name, endpoint, parts)

    def sign_for_ourselves(self, ca: KeyPair, lifetime: timedelta) -> KeyPair:
        """A certificate with every right, for one act of ours; it never leaves this process."""
        return sign_client(ca, OURSELVES, self.clock.now(), lifetime)[0]
