"""What the bootstrapper does on machines of inventories: ask again while it is silent, and write down its answers."""

import asyncio
from datetime import timedelta

from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_provisioner.clouds import static_inventory
from caravan_shared.contracts.events import MachinesHandedBack
from caravan_shared.plumbing.bus import Heard
from caravan_shared.plumbing.clock import Clock
from caravan_shared.plumbing.database import Database
from caravan_shared.plumbing.log import get_logger

log = get_logger(__name__)


class Custody:
    """Sees to it that no machine waits for ever because a question or an answer was lost."""

    def __init__(self, db: Database, clock: Clock, ask_again_s: float) -> None:
        self._db, self._clock, self._ask_again_s = db, clock, ask_again_s

    async def run(self) -> None:
        """Ask again now and then, until cancelled."""
        while True:
            await asyncio.sleep(self._ask_again_s / 2)
            now = self._clock.now()
            async with self._db.transaction() as tx:
                waiting = await static_inventory.ask_again(tx, now - timedelta(seconds=self._ask_again_s), now)
            if waiting:
                log.info("asked again for work on machines of inventories", machines=waiting)


async def handed_back(heard: Heard[MachinesHandedBack], tx: AsyncSession) -> None:
    """The bootstrapper's work on machines has ended."""
    await static_inventory.note(tx, heard.event, heard.at)
