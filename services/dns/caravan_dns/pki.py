"""Keep each cluster's authority in the store, its private keys sealed to their cluster and purpose."""

from dataclasses import asdict, fields
from datetime import datetime, timedelta
from uuid import UUID

from cryptography.x509 import load_pem_x509_certificate
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_dns.authority import KeyPair, Pki
from caravan_dns.store import PkiPart, pki_context
from caravan_shared.contracts.facts import Finding, FindingLevel
from caravan_shared.plumbing.sealing import KeyRing

ENDS_SOON = timedelta(days=183)
"""Time enough to move to another cluster."""


async def keep(tx: AsyncSession, keys: KeyRing, cluster_id: UUID, pki: Pki) -> None:
    """Store a new authority. The primary key refuses a second one for the same cluster."""
    for purpose, pair in asdict(pki).items():
        sealed = keys.seal(pair["key"], pki_context(cluster_id, purpose))
        tx.add(PkiPart(cluster_id=cluster_id, purpose=purpose, public=pair["public"], sealed_key=sealed))


async def opened(session: AsyncSession, keys: KeyRing, cluster_id: UUID) -> Pki:
    """The cluster's authority, keys opened. Raises KeyError if there is none, CannotOpen if a key won't open."""
    parts = {
        part.purpose: KeyPair(part.public, keys.open(part.sealed_key, pki_context(cluster_id, part.purpose)))
        for part in (await session.exec(select(PkiPart).where(PkiPart.cluster_id == cluster_id))).all()
    }
    return Pki(**{field.name: parts[field.name] for field in fields(Pki)})


async def ca_certificate(session: AsyncSession, cluster_id: UUID) -> str:
    """The cluster's CA certificate, PEM: all of the authority that may be told."""
    return (await session.get_one(PkiPart, (cluster_id, "ca"))).public


async def expiring(session: AsyncSession, now: datetime) -> list[Finding]:
    """Clusters' authorities that end within half a year; a cluster cannot outlive its own."""
    parts = (await session.exec(select(PkiPart).where(PkiPart.purpose == "ca"))).all()
    ends = {part.cluster_id: load_pem_x509_certificate(part.public.encode()).not_valid_after_utc for part in parts}
    return [
        Finding(
            about=f"authority of cluster {cluster_id}",
            level=FindingLevel.WARNING,
            says=f"it ends on {end:%Y-%m-%d}",
            mend="Move what runs there to a new cluster: an authority lasts as long as its cluster.",
        )
        for cluster_id, end in ends.items()
        if end < now + ENDS_SOON
    ]
