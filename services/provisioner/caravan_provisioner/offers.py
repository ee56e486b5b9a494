"""Tell everybody what each cloud offers: at start, when it changes, and now and then again."""

import asyncio
from collections.abc import Iterable
from datetime import datetime, timedelta

from caravan_provisioner.clouds.base import Offers, Stoppable
from caravan_provisioner.settings import Settings
from caravan_provisioner.site import Site
from caravan_shared.contracts.events import CloudOffered
from caravan_shared.plumbing.clock import Clock
from caravan_shared.plumbing.database import Database
from caravan_shared.plumbing.errors import GiveUp, Retry
from caravan_shared.plumbing.log import get_logger
from caravan_shared.plumbing.outbox import say

log = get_logger(__name__)

_ASK_AGAIN_S = 2.0  # after a cloud did not answer: it may be starting together with us


class Crier:
    """Says `cloud.offered`."""

    def __init__(self, sites: Iterable[Site], db: Database, clock: Clock, settings: Settings) -> None:
        self._sites, self._db, self._clock, self._settings = list(sites), db, clock, settings
        self._said: dict[str, tuple[Offers, datetime]] = {}

    async def run(self) -> None:
        """Look at every cloud until cancelled."""
        async with asyncio.TaskGroup() as group:
            for site in self._sites:
                group.create_task(self._watch(site))

    async def _watch(self, site: Site) -> None:
        """A cloud in trouble is asked again; clusters that need it show the trouble themselves."""
        try:
            while True:
                pause = self._settings.offers_every_s
                try:
                    await self.look(site)
                except (Retry, GiveUp) as error:
                    log.warning("cloud does not tell its offers", cloud=site.cloud.name, reason=error.reason)
                    pause = min(pause, _ASK_AGAIN_S)
                await asyncio.sleep(pause)
        finally:
            await site.cloud.close()

    async def look(self, site: Site) -> None:
        """Ask one cloud, and say what is new. Raises what `Cloud.offers` raises."""
        offers = await site.cloud.offers()
        site.inventory.expect_boot(offers.seconds_to_boot)
        said, said_at = self._said.get(site.cloud.name, (None, self._clock.now()))
        stale = self._clock.now() - said_at >= timedelta(seconds=self._settings.say_offers_every_s)
        if offers == said and not stale:
            return
        async with self._db.transaction() as tx:
            await say(tx, _event(site, offers))
        self._said[site.cloud.name] = (offers, self._clock.now())


def _event(site: Site, offers: Offers) -> CloudOffered:
    return CloudOffered(
        cloud=site.cloud.name,
        kind=site.cloud.kind,
        simulated=site.cloud.capabilities.simulated,
        machine_types=offers.machine_types,
        quota=offers.quota,
        seconds_to_boot=offers.seconds_to_boot,
        virtual_ips=offers.virtual_ips,
        stops_machines=isinstance(site.cloud, Stoppable),
    )
