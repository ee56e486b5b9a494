"""The static cloud: machines that stand there already, claimed from an inventory instead of made.

Names are node names, so a repeated claim of a batch finds what the first one took; that makes this the one cloud whose
create may be repeated. A machine that is let go stays listed until it has been wiped and checked, or is in quarantine:
a cluster is not gone before its machines are clean. What works on the machines is the bootstrapper; the claims are in
`static_inventory`.
"""

from collections.abc import Iterable, Sequence
from typing import Literal
from uuid import UUID

from pydantic import BaseModel
from sqlmodel import col, select

from caravan_provisioner.clouds import static_inventory
from caravan_provisioner.clouds.base import Capabilities, CloudMachineState, Machine, MachineBatch, Offers
from caravan_provisioner.clouds.static_inventory import InventoryMachine
from caravan_shared.contracts.facts import CloudQuota, Connection, OfferedMachineType
from caravan_shared.contracts.machines import MachineEntry
from caravan_shared.contracts.states import InventoryState
from caravan_shared.plumbing.clock import Clock
from caravan_shared.plumbing.database import Database

SECONDS_TO_PREPARE = 10.0  # from the claim to a machine with its node's name that lets its cluster in


class StaticConfig(BaseModel):
    """An inventory has nothing to be told here: its machines come in through the API."""

    kind: Literal["static"] = "static"


class StaticCloud:
    """The machines of one inventory."""

    def __init__(self, name: str, config: StaticConfig, db: Database, clock: Clock) -> None:
        self.name, self.kind = name, str(config.kind)
        self.capabilities = Capabilities(
            user_data=False, pull=False, max_batch=100, simulated=False, connection=Connection.SSH
        )
        self._db, self._clock = db, clock

    async def offers(self) -> Offers:
        """See `Cloud.offers`. A type has what each of its machines has at least; quarantine is no stock."""
        async with self._db.reading() as session:
            found = await session.exec(select(InventoryMachine).where(col(InventoryMachine.cloud) == self.name))
            rows = found.all()
        stock = [row for row in rows if row.state != InventoryState.QUARANTINED]
        return Offers(
            machine_types=tuple(_offered(rows)),
            quota=CloudQuota(
                machines_limit=len(stock),
                machines_used=sum(row.state != InventoryState.AVAILABLE for row in stock),
            ),
            seconds_to_boot=SECONDS_TO_PREPARE,
        )

    async def create(self, batch: MachineBatch) -> Sequence[Machine]:
        """See `Cloud.create`."""
        async with self._db.transaction() as tx:
            return [_machine(row) for row in await static_inventory.claim(tx, self.name, batch, self._clock.now())]

    async def machines(self, installation: str) -> Sequence[Machine]:
        """See `Cloud.machines`."""
        async with self._db.reading() as session:
            found = await session.exec(
                select(InventoryMachine)
                .where(
                    col(InventoryMachine.cloud) == self.name,
                    col(InventoryMachine.installation) == installation,
                    col(InventoryMachine.state).in_([InventoryState.CLAIMED.value, InventoryState.CLEANING.value]),
                )
                .order_by(col(InventoryMachine.name))
            )
            return [_machine(row) for row in found]

    async def delete(self, ids: Sequence[str]) -> None:
        """See `Cloud.delete`."""
        async with self._db.transaction() as tx:
            await static_inventory.let_go(tx, self.name, _uuids(ids), self._clock.now())

    async def close(self) -> None:
        """See `Cloud.close`. The store is the service's own."""


def _offered(rows: Sequence[InventoryMachine]) -> Iterable[OfferedMachineType]:
    for machine_type in sorted({row.machine_type for row in rows}):
        entries = [MachineEntry.model_validate(row.entry) for row in rows if row.machine_type == machine_type]
        yield OfferedMachineType(
            name=machine_type,
            cpus=min(entry.cpus for entry in entries),
            memory_mib=min(entry.memory_mib for entry in entries),
            disk_gib=min(entry.disk_gib for entry in entries),
        )


def _machine(row: InventoryMachine) -> Machine:
    assert row.node
    assert row.claimed_at
    entry = MachineEntry.model_validate(row.entry)
    return Machine(
        id=str(row.id),
        name=row.node,
        state=_state(row),
        address=row.address,
        machine_type=row.machine_type,
        owner=row.owner,
        created_at=row.claimed_at,
        fault=f"{row.name}: {row.reason}" if row.reason else None,
        host_keys=entry.host_keys,
        ssh_port=row.ssh_port,
    )


def _state(row: InventoryMachine) -> CloudMachineState:
    if row.state == InventoryState.CLEANING or row.waits_since:
        return CloudMachineState.BUILDING
    return CloudMachineState.ERROR if row.reason else CloudMachineState.ACTIVE


def _uuids(ids: Iterable[str]) -> set[UUID]:
    """What may be one of ours: ids of other clouds look otherwise."""
    found = set()
    for text in ids:
        try:
            found.add(UUID(text))
        except ValueError:
            continue
    return found
