"""Inventories for tests: entries by the dozen, and hands that do at once what the bootstrapper would do on machines."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from ipaddress import IPv4Address
from typing import Any

from sqlmodel import col, select

from caravan_provisioner.clouds import static_inventory
from caravan_provisioner.clouds.static_inventory import InventoryMachine
from caravan_shared.contracts.bmc import bmc_context
from caravan_shared.contracts.events import MachinesHandedBack
from caravan_shared.contracts.machines import MachineEntry, MachineWork, WorkedMachine
from caravan_shared.contracts.states import InventoryState
from caravan_shared.plumbing.database import Database
from caravan_shared.plumbing.sealing import KeyRing
from tests.support.redfish import PASSWORD, Redfish

HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"


def entry(number: int, **changes: Any) -> MachineEntry:
    """The entry of the machine with this number; no two share a name or an address."""
    return MachineEntry.model_validate(
        {
            "name": f"rack-{number:04d}",
            "cloud": "metal",
            "address": IPv4Address("10.1.0.0") + number,
            "host_keys": [HOST_KEY],
            "machine_type": "small",
            "cpus": 2,
            "memory_mib": 2048,
            **changes,
        }
    )


def row(given: MachineEntry, sealed_bmc_password: str | None = None) -> InventoryMachine:
    """What is stored of an entry whose machine is fit."""
    machine = static_inventory.new_row(given, sealed_bmc_password, datetime(2026, 1, 1, tzinfo=UTC))
    machine.state = InventoryState.AVAILABLE
    return machine


async def stock(db: Database, count: int, **changes: Any) -> None:
    """Take machines in, and find all of them fit."""
    await _take_in(db, [entry(number, **changes) for number in range(count)], {})


async def stock_with_bmcs(db: Database, count: int, redfish: Redfish, keys: KeyRing, **changes: Any) -> None:
    """The same, each with a BMC of the emulator's."""
    entries = [entry(number, bmc=redfish.bmc(number), **changes) for number in range(count)]
    await _take_in(db, entries, {each.name: keys.seal(PASSWORD, bmc_context(each.name)) for each in entries})


async def _take_in(db: Database, entries: list[MachineEntry], sealed: dict[str, str]) -> None:
    async with db.transaction() as tx:
        await static_inventory.take_in(tx, entries, sealed, datetime.now(UTC))
    await work_once(db)


Verdict = Callable[[InventoryMachine], str | None]
"""What goes wrong on a machine; None: nothing."""


async def work_once(db: Database, verdict: Verdict = lambda _machine: None) -> int:
    """Hand back every machine that waits; how many those were."""
    async with db.reading() as session:
        statement = select(InventoryMachine).where(col(InventoryMachine.waits_since).is_not(None))
        waiting = (await session.exec(statement)).all()
    told = tuple(WorkedMachine(id=each.id, ticket=each.ticket, problem=verdict(each)) for each in waiting)
    async with db.transaction() as tx:  # another one: the answer comes later, from another process
        await static_inventory.note(tx, MachinesHandedBack(work=MachineWork.CHECK, machines=told), datetime.now(UTC))
    return len(waiting)


@asynccontextmanager
async def working(db: Database, verdict: Verdict = lambda _machine: None) -> AsyncIterator[None]:
    """Hands that work for as long as the block runs."""

    async def work() -> None:
        while True:
            await work_once(db, verdict)
            await asyncio.sleep(0.02)

    task = asyncio.create_task(work())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):  # but whatever kept the hands from working is a failure
            await task


async def by_state(db: Database, state: InventoryState) -> list[InventoryMachine]:
    """The machines in a state, by name."""
    async with db.reading() as session:
        statement = select(InventoryMachine).where(col(InventoryMachine.state) == state.value)
        return list(await session.exec(statement.order_by(col(InventoryMachine.name))))
