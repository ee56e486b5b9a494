"""Find machines of ours that no cluster owns any more, and delete them with great care.

`decide_sweep` is pure. What it goes by:

* a machine of a cluster that we remember as deleted is a leak; one of a cluster that we never heard of is either a leak
  or a sign that our store is an old copy, so it is kept while the store knows nothing or while such machines are the
  most part of all;
* after a restore from a backup, clusters made since are unknown and alive: machines of unknown clusters are kept until
  an operator releases the sweep;
* nothing is deleted on one sighting, and never more than a tenth of what is listed at once (one at least);
* machines of live clusters are the reconciler's, which adopts or deletes them; other installations' are nobody's here.

However many replicas there are, one sweeps at a time: two would delete twice as much at once.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from sqlalchemy import delete
from sqlmodel import col, select

from caravan_provisioner import store
from caravan_provisioner.clouds.base import Machine
from caravan_provisioner.installation import Installation
from caravan_provisioner.settings import Settings
from caravan_provisioner.site import Site
from caravan_provisioner.store import SweepSighting
from caravan_shared.plumbing.clock import Clock
from caravan_shared.plumbing.database import Database, upsert
from caravan_shared.plumbing.errors import GiveUp, Retry
from caravan_shared.plumbing.log import get_logger
from caravan_shared.plumbing.rounds import Rounds

log = get_logger(__name__)

_TOMBSTONES_LAST = timedelta(days=7)  # longer than the bus keeps any event
_SHARE = 10  # at most one machine in so many is deleted at once


class Verdict(StrEnum):
    """What the sweep does about a machine."""

    WAIT = "seen once; deleted if it is still there at a later sweep"
    DELETE = "deleted"
    NEXT_TIME = "deleted at a later sweep: a tenth of all machines is the most at once"
    DOUBT = "kept: the store may be an old copy (see the setting sweep_trusts_store)"
    HELD = "kept: the store was restored from a backup, which may be older (see `caravan cloud release-sweep`)"


@dataclass(frozen=True, slots=True)
class Sighting:
    """A machine that seems to be nobody's."""

    machine: Machine
    cluster_id: UUID
    reason: str
    verdict: Verdict
    first_seen_at: datetime


@dataclass(frozen=True, slots=True)
class Known:
    """The clusters the store knows."""

    live: frozenset[UUID]
    deleted: frozenset[UUID]


def decide_sweep(
    machines: Sequence[Machine],
    installation: str,
    known: Known,
    first_seen: Mapping[str, datetime],
    now: datetime,
    *,
    confirm_s: float,
    trust_store: bool,
    held: bool = False,
) -> list[Sighting]:
    """What to do about each machine that no live cluster owns.

    `first_seen` maps machine ids to earlier sightings; `held` says that the store is a restored one and nobody has
    released the sweep since.
    """
    ours = [machine for machine in machines if machine.owner and machine.owner.installation == installation]
    orphans = [
        (machine, machine.owner.cluster_id)
        for machine in ours
        if machine.owner and machine.owner.cluster_id not in known.live
    ]
    unknown = sum(cluster_id not in known.deleted for _, cluster_id in orphans)
    doubtful = not trust_store and (not (known.live or known.deleted) or 2 * unknown > len(ours))
    allowed = max(1, len(ours) // _SHARE)
    confirmed_if_before = now - timedelta(seconds=confirm_s)
    sightings: list[Sighting] = []
    for machine, cluster_id in orphans:
        first = first_seen.get(machine.id, now)
        is_deleted = cluster_id in known.deleted
        if held and not is_deleted:
            verdict = Verdict.HELD
        elif doubtful and not is_deleted:
            verdict = Verdict.DOUBT
        elif first > confirmed_if_before:
            verdict = Verdict.WAIT
        elif allowed:
            verdict, allowed = Verdict.DELETE, allowed - 1
        else:
            verdict = Verdict.NEXT_TIME
        reason = "its cluster was deleted" if is_deleted else "its cluster is unknown"
        sightings.append(Sighting(machine, cluster_id, reason, verdict, first))
    return sightings


class Sweeper:
    """Sweeps every cloud now and then; `store.SweepSighting` lists what it saw and did last."""

    def __init__(
        self,
        sites: Iterable[Site],
        installation: Installation,
        db: Database,
        clock: Clock,
        rounds: Rounds,
        settings: Settings,
    ) -> None:
        self._sites, self._installation = list(sites), installation
        self._db, self._clock, self._rounds, self._settings = db, clock, rounds, settings

    async def run(self) -> None:
        """Sweep until cancelled."""
        while True:
            await asyncio.sleep(self._settings.sweep_every_s)
            await self.sweep_all()

    async def sweep_all(self) -> None:
        """Sweep every cloud, unless another replica has, and drop what the store need not remember any more."""
        if not await self._rounds.is_ours("sweep", self._settings.sweep_every_s):
            return
        for site in self._sites:
            try:
                await self.sweep(site)
            except (Retry, GiveUp) as error:
                log.warning("sweep put off", cloud=site.cloud.name, reason=error.reason)
        async with self._db.transaction() as tx:
            await store.prune(tx, self._clock.now() - _TOMBSTONES_LAST)

    async def sweep(self, site: Site) -> list[Sighting]:
        """One sweep of one cloud. Raises what the cloud raises."""
        now = self._clock.now()
        installation = await self._installation.id()
        # List before reading the store: every cluster is stored before its first machine can be listed.
        listing = await site.inventory.listing(installation, not_older_than=now)
        async with self._db.reading() as session:
            live, deleted = await store.clusters_known(session)
            held = await store.sweep_is_held(session)
            rows = await session.exec(
                select(SweepSighting.machine_id, SweepSighting.first_seen_at).where(
                    SweepSighting.cloud == site.cloud.name
                )
            )
            first_seen = dict(rows.all())
        sightings = decide_sweep(
            listing.machines,
            installation,
            Known(frozenset(live), frozenset(deleted)),
            first_seen,
            now,
            confirm_s=self._settings.sweep_confirm_s,
            trust_store=self._settings.sweep_trusts_store,
            held=held,
        )
        await self._note(site.cloud.name, sightings, now)
        await self._delete(site, sightings)
        return sightings

    async def _note(self, cloud: str, sightings: Iterable[Sighting], now: datetime) -> None:
        rows = [_row(cloud, sighting, now) for sighting in sightings]
        async with self._db.transaction() as tx:
            await upsert(
                tx, SweepSighting, rows, key=("cloud", "machine_id"), update=("reason", "verdict", "last_seen_at")
            )
            await tx.exec(
                delete(SweepSighting).where(
                    col(SweepSighting.cloud) == cloud, col(SweepSighting.last_seen_at) < now - _TOMBSTONES_LAST
                )
            )

    async def _delete(self, site: Site, sightings: Iterable[Sighting]) -> None:
        doomed = [sighting.machine for sighting in sightings if sighting.verdict is Verdict.DELETE]
        for sighting in sightings:
            log.warning(
                "machine that nobody owns",
                cloud=site.cloud.name,
                machine=sighting.machine.id,
                name=sighting.machine.name,
                reason=sighting.reason,
                verdict=sighting.verdict.value,
            )
        if doomed:
            await site.cloud.delete([machine.id for machine in doomed])


def _row(cloud: str, sighting: Sighting, now: datetime) -> dict[str, object]:
    return {
        "cloud": cloud,
        "machine_id": sighting.machine.id,
        "name": sighting.machine.name,
        "cluster_id": sighting.cluster_id,
        "reason": sighting.reason,
        "verdict": sighting.verdict.value,
        "first_seen_at": sighting.first_seen_at,
        "last_seen_at": now,
    }
