"""A service's command: `caravan-dns` runs the service; with an action it does one thing to its store, and ends.

    migrate              bring the store to the newest version
    backup FILE          write all of it into a new file; the service may run meanwhile
    restore FILE         fill an empty database from such a file; nothing of Caravan may run
    keys                 name the keys of the ring that the store's secrets are sealed under

A service migrates at its start as well. `migrate` is for installations of several replicas: one job migrates while the
replicas of the version before still serve, and whoever rolls out waits for it. None of them needs NATS.
"""

import argparse
import asyncio
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from caravan_shared.plumbing.backup import restore, write_backup
from caravan_shared.plumbing.backup_file import Refused
from caravan_shared.plumbing.log import configure_logging, get_logger
from caravan_shared.plumbing.sealed_columns import keys_in_use
from caravan_shared.plumbing.service import Service, run

log = get_logger(__name__)

Action = Callable[[Service, argparse.Namespace], Coroutine[Any, Any, None]]


def main(build: Callable[[], Service], argv: Sequence[str] | None = None) -> None:
    """Do what the command line asks for; wrong usage ends the process with 2 and a hint."""
    chosen = _parser().parse_args(argv)
    service = build()
    action: Action | None = chosen.action
    if action is None:
        run(service)
    else:
        act(service, action, chosen)


def act(service: Service, action: Action, chosen: argparse.Namespace) -> None:
    """Do one thing to the service's store. A refusal ends the process with 1; what a database raises is raised."""
    configure_logging(service.name, service.settings.log_level, service.settings.log_format)
    try:
        asyncio.run(action(service, chosen))
    except Refused as refused:
        sys.exit(f"{service.name}: {refused.reason}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Without an action: run the service until SIGTERM or SIGINT.")
    parser.set_defaults(action=None)
    actions = parser.add_subparsers(metavar="action")
    migrating = actions.add_parser("migrate", help="bring the store to the newest version, and end")
    migrating.set_defaults(action=_migrate)
    backing_up = actions.add_parser("backup", help="write the store into a new file, and end")
    backing_up.add_argument("file", type=Path, help="must not be there yet; the key ring is not in it")
    backing_up.set_defaults(action=_backup)
    restoring = actions.add_parser("restore", help="fill an empty database from a backup, and end")
    restoring.add_argument("file", type=Path, help="a backup of this service by this release or an earlier one")
    restoring.add_argument("--check", action="store_true", help="only say whether it would be taken")
    restoring.set_defaults(action=_restore)
    keys = actions.add_parser("keys", help="name the keys that the store's secrets are sealed under, and end")
    keys.set_defaults(action=_keys)
    return parser


async def _migrate(service: Service, _chosen: argparse.Namespace) -> None:
    try:
        await service.db.start()
    finally:
        await service.db.stop()
    log.info("the store is of the newest version")


async def _backup(service: Service, chosen: argparse.Namespace) -> None:
    await write_backup(service, chosen.file)
    log.info("the store is backed up; its secrets need the key ring as well", file=str(chosen.file))


async def _restore(service: Service, chosen: argparse.Namespace) -> None:
    head = await restore(service, chosen.file, only_check=chosen.check)
    log.info("the backup would be taken" if chosen.check else "the store is restored", taken_at=head.at)


async def _keys(service: Service, _chosen: argparse.Namespace) -> None:
    service.db.open()
    try:
        async with service.db.snapshot() as connection:
            used = await keys_in_use(connection, service.db.metadata)
    finally:
        await service.db.stop()
    sys.stdout.writelines(f"{name}\n" for name in sorted(used))
