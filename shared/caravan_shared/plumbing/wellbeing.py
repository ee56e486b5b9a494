"""How this replica is, for whoever asks all: its store, its backlog, its disk, and what the service adds of its own."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Sequence

from sqlalchemy.exc import SQLAlchemyError

from caravan_shared.contracts.facts import Finding
from caravan_shared.contracts.requests import AskWellbeing, Wellbeing
from caravan_shared.plumbing.backlog import Backlog
from caravan_shared.plumbing.clock import Clock
from caravan_shared.plumbing.database import Database
from caravan_shared.plumbing.errors import StoreAway
from caravan_shared.plumbing.outbox import Relay
from caravan_shared.plumbing.settings import ServiceSettings
from caravan_shared.plumbing.versions import version_of

_STORE_ANSWERS_WITHIN_S = 1.0  # less than answers are gathered for: whose store is away has to say so in time

Look = Callable[[], Awaitable[Sequence[Finding]]]


class SelfExamination:
    """Answers `AskWellbeing`. `looks` are what the service itself looks after."""

    def __init__(
        self, service: str, settings: ServiceSettings, db: Database, backlog: Backlog, relay: Relay, clock: Clock
    ) -> None:
        self._service, self._settings, self._clock = service, settings, clock
        self._db, self._backlog, self._relay = db, backlog, relay
        self.looks: list[Look] = []

    async def answer(self, _question: AskWellbeing) -> Wellbeing:
        """How we are; a store that does not answer is part of the answer."""
        disk = shutil.disk_usage(self._settings.state_dir)
        problem, migration, findings = "", "", list[Finding]()
        try:
            async with asyncio.timeout(_STORE_ANSWERS_WITHIN_S):
                migration = await self._db.revision()
                for look in self.looks:
                    findings += await look()
        except (StoreAway, SQLAlchemyError, TimeoutError) as error:
            problem = f"it does not answer: {type(error).__name__}"
        return Wellbeing(
            service=self._service,
            instance=self._settings.instance,
            version=version_of(self._service),
            now=self._clock.now(),
            store_problem=problem,
            migration=migration,
            newest_migration=self._db.newest_revision(),
            stuck=tuple(self._backlog.stuck()),
            unsent_for_s=self._relay.unsent_for_s,
            disk_free_bytes=disk.free,
            disk_total_bytes=disk.total,
            findings=tuple(findings),
        )
