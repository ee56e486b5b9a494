"""The copies of what provisioner and bootstrapper offer, and what admission must know of the world."""

from dataclasses import replace
from ipaddress import ip_address

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_api.admission import Current, Limits, Surroundings
from caravan_api.decide.facts import Facts
from caravan_api.store import CloudOffer, Cluster, KubernetesOffer
from caravan_api.teams.quotas import clusters_of, locked_team
from caravan_api.teams.store import Team
from caravan_shared.contracts.addresses import IPAddress
from caravan_shared.contracts.events import CloudOffered, KubernetesOffered
from caravan_shared.contracts.spec import ClusterSpec
from caravan_shared.plumbing.bus import Heard
from caravan_shared.plumbing.errors import Retry


class NothingOfferedYet(Retry):
    """A service has not told yet what it offers, as it does at its start."""

    def __init__(self, what: str, service: str) -> None:
        super().__init__(f"the {service} has not said yet which {what} there are", after=2.0)


async def cloud_offered(heard: Heard[CloudOffered], tx: AsyncSession) -> None:
    """Keep the newest offer of each cloud."""
    offer = heard.event.model_dump(mode="json")
    kept = await tx.get(CloudOffer, heard.event.cloud, with_for_update=True)
    if kept is None:
        tx.add(CloudOffer(cloud=heard.event.cloud, offer=offer, sequence=heard.sequence))
    elif heard.sequence > kept.sequence:
        kept.offer, kept.sequence = offer, heard.sequence
        tx.add(kept)


async def kubernetes_offered(heard: Heard[KubernetesOffered], tx: AsyncSession) -> None:
    """Keep the newest list of versions."""
    versions = list(heard.event.versions)
    kept = (await tx.exec(select(KubernetesOffer).with_for_update())).one_or_none()
    if kept is None:
        tx.add(KubernetesOffer(versions=versions, sequence=heard.sequence))
    elif heard.sequence > kept.sequence:
        kept.versions, kept.sequence = versions, heard.sequence
        tx.add(kept)


async def offered_versions(session: AsyncSession) -> tuple[str, ...]:
    """The versions that can be had, newest first. Raises `NothingOfferedYet`."""
    offer = (await session.exec(select(KubernetesOffer))).one_or_none()
    if offer is None:
        raise NothingOfferedYet("Kubernetes versions", "bootstrapper")
    return tuple(offer.versions)


async def offered_clouds(session: AsyncSession) -> dict[str, CloudOffered]:
    """The clouds by name. Raises `NothingOfferedYet`."""
    offers = (await session.exec(select(CloudOffer).order_by(col(CloudOffer.cloud)))).all()
    if not offers:
        raise NothingOfferedYet("clouds", "provisioner")
    return {offer.cloud: CloudOffered.model_validate(offer.offer) for offer in offers}


async def surroundings(
    session: AsyncSession, limits: Limits, team: str, *, name: str | None = None, cluster: Cluster | None = None
) -> Surroundings:
    """What admission must know to judge a new cluster named `name`, or a change of `cluster`. Raises `NotFound`."""
    quota, has = await locked_team(session, team), await clusters_of(session, team)
    counts = cluster is not None and cluster.deletion_asked_at is None
    current = None
    if cluster:
        facts = Facts.model_validate(cluster.facts)
        running = facts.version.number if facts.version else None
        current = Current(ClusterSpec.model_validate(cluster.spec), running)
    taken = name is not None and await name_is_taken(session, team, name)
    return Surroundings(
        versions=await offered_versions(session),
        clouds=await offered_clouds(session),
        limits=_team_limits(limits, quota),
        names_taken=frozenset({name} if name is not None and taken else ()),
        virtual_ips_taken=frozenset() if cluster else await _virtual_ips(session),
        team_nodes=has.nodes - (cluster.nodes_wanted if cluster and counts else 0),
        team_clusters=has.clusters - counts,
        current=current,
    )


async def name_is_taken(session: AsyncSession, team: str, name: str) -> bool:
    """True while a cluster of that name is not wholly deleted."""
    statement = select(Cluster.id).where(Cluster.team == team, Cluster.name == name, col(Cluster.deleted_at).is_(None))
    return (await session.exec(statement)).first() is not None


async def _virtual_ips(session: AsyncSession) -> frozenset[tuple[str, IPAddress]]:
    """(control plane's cloud, address) of every cluster that has a virtual IP and is not wholly deleted."""
    statement = select(Cluster.virtual_ip_cloud, Cluster.virtual_ip).where(col(Cluster.deleted_at).is_(None))
    found = (await session.exec(statement.where(col(Cluster.virtual_ip).is_not(None)))).all()
    return frozenset((cloud, ip_address(address)) for cloud, address in found if cloud and address)


def _team_limits(limits: Limits, team: Team) -> Limits:
    """The installation's limits, with the team's own where it has some."""
    nodes = limits.max_nodes_per_team if team.max_nodes is None else team.max_nodes
    return replace(limits, max_nodes_per_team=nodes, max_clusters_per_team=team.max_clusters)
