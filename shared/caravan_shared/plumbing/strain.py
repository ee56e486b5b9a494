"""How strained this process is: how late its event loop runs, how many connections to the store are in use.

Measured here for every service. Health also judges its own lag by itself, to the twentieth of a second.
"""

import asyncio

from prometheus_client import Gauge, Histogram

from caravan_shared.plumbing.database import Database

_TICK_S = 0.5

_LAG = Histogram(
    "caravan_event_loop_lag_seconds",
    "How much later than asked for the event loop woke a sleeper, twice a second.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
_CONNECTIONS = Gauge("caravan_store_connections", "Connections to the store that are in use.")
_MOST_CONNECTIONS = Gauge("caravan_store_connections_most", "Connections to the store that there may be.")
_WRITERS = Gauge("caravan_store_writers_waiting", "Transactions that wait for their turn to write; on SQLite alone.")


class Strain:
    """Measures until cancelled."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def run(self) -> None:
        """Look twice a second."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _TICK_S
            await asyncio.sleep(_TICK_S)
            _LAG.observe(max(0.0, loop.time() - due))
            load = self._db.load()
            _CONNECTIONS.set(load.connections)
            _MOST_CONNECTIONS.set(load.most_connections)
            _WRITERS.set(load.writers_waiting)
