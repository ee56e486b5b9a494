"""A PostgreSQL database that goes away: its connections end and new ones are refused, as when a server is restarted."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from sqlalchemy import make_url

from tests.support.postgres import dsn


class Switch:
    """Takes one database away and brings it back; the server goes on for others."""

    def __init__(self, admin: asyncpg.Connection, database: str) -> None:
        self._admin, self._database = admin, database

    @classmethod
    @asynccontextmanager
    async def of(cls, url: str) -> AsyncIterator["Switch"]:
        """The switch of the database that a store's URL names; it is there again at the end."""
        database = make_url(url).database
        assert database
        admin = await asyncpg.connect(dsn(url), database="postgres")
        switch = cls(admin, database)
        try:
            yield switch
        finally:
            await switch.on()
            await admin.close()

    async def off(self) -> None:
        """Nobody can work with it until `on`."""
        await self._admin.execute(f"ALTER DATABASE {self._database} WITH ALLOW_CONNECTIONS false")
        await self._admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", self._database
        )

    async def on(self) -> None:
        """It is there again."""
        await self._admin.execute(f"ALTER DATABASE {self._database} WITH ALLOW_CONNECTIONS true")
