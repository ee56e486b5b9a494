"""A service's command: `caravan-dns` runs the service, `caravan-dns migrate` brings its store to the newest version.

A service migrates at its start as well. The second form is for installations of several replicas: one job migrates
while the replicas of the version before still serve, and whoever rolls out waits for it.
"""

import argparse
import asyncio
from collections.abc import Callable, Sequence

from caravan_shared.plumbing.log import configure_logging, get_logger
from caravan_shared.plumbing.service import Service, run

log = get_logger(__name__)


def main(build: Callable[[], Service], argv: Sequence[str] | None = None) -> None:
    """Do what the command line asks for; wrong usage ends the process with 2 and a hint."""
    parser = argparse.ArgumentParser(description="Without an action: run the service until SIGTERM or SIGINT.")
    parser.add_argument(
        "action", nargs="?", choices=["migrate"], help="migrate: bring the store to the newest version, and end"
    )
    chosen = parser.parse_args(argv)
    service = build()
    if chosen.action == "migrate":
        migrate(service)
    else:
        run(service)


def migrate(service: Service) -> None:
    """Bring the service's store to the newest version. Needs no NATS; whatever the database raises is raised."""
    configure_logging(service.name, service.settings.log_level, service.settings.log_format)
    asyncio.run(_migrate(service))
    log.info("the store is of the newest version")


async def _migrate(service: Service) -> None:
    try:
        await service.db.start()
    finally:
        await service.db.stop()
