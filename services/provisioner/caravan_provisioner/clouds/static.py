"""The static cloud: machines that stand there already, claimed from an inventory instead of made.

Names are node names, so a repeated claim of a batch finds what the first one took; that makes this the one cloud whose
create may be repeated. A machine that is let go stays listed until it has been wiped and checked, or is in quarantine:
a cluster is not gone before its machines are clean. What works on the machines is the bootstrapper; the claims are in
`static_inventory`. A machine is rebooted by its BMC, where its entry describes one.
"""

from collections.abc import Iterable, Sequence
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, Field, FilePath
from sqlalchemy import ColumnElement
from sqlmodel import col, select

from caravan_provisioner.clouds import static_inventory
from caravan_provisioner.clouds.base import (
    Capabilities,
    CloudMachineState,
    CloudRefused,
    CloudUnavailable,
    Machine,
    MachineBatch,
    Offers,
)
from caravan_provisioner.clouds.bmc_faults import BmcFault, Unclear
from caravan_provisioner.clouds.bmc_redfish import BmcLogin
from caravan_provisioner.clouds.bmcs import Bmcs
from caravan_provisioner.clouds.offered import findings_of_offers
from caravan_provisioner.clouds.static_check import findings_of_power
from caravan_provisioner.clouds.static_inventory import InventoryMachine
from caravan_provisioner.clouds.static_power import login
from caravan_shared.contracts.facts import CloudQuota, Connection, Finding, OfferedMachineType
from caravan_shared.contracts.states import InventoryState
from caravan_shared.plumbing.clock import Clock
from caravan_shared.plumbing.database import Database
from caravan_shared.plumbing.sealing import KeyRing

SECONDS_TO_PREPARE = 10.0  # from the claim to a machine with its node's name that lets its cluster in


class StaticConfig(BaseModel):
    """How BMCs are asked; the machines themselves come in through the API."""

    kind: Literal["static"] = "static"
    bmc_ca: FilePath | None = Field(
        None,
        description="PEM file of the authorities that sign the BMCs' certificates. Without it, those that the host "
        "knows. A BMC whose entry has a `fingerprint` needs neither.",
    )
    bmc_timeout_s: float = Field(20, gt=0, description="Seconds that a BMC may take for an answer; some are slow.")
    bmcs_at_once: int = Field(8, ge=1, le=64, description="BMCs asked side by side.")


class StaticCloud:
    """The machines of one inventory."""

    def __init__(self, name: str, config: StaticConfig, db: Database, clock: Clock, keys: KeyRing) -> None:
        self.name, self.kind = name, str(config.kind)
        self.capabilities = Capabilities(
            user_data=False, pull=False, max_batch=100, simulated=False, connection=Connection.SSH
        )
        self._config, self._db, self._clock, self._keys = config, db, clock, keys
        self._bmcs = Bmcs(name, at_once=config.bmcs_at_once, timeout_s=config.bmc_timeout_s)

    async def offers(self) -> Offers:
        """See `Cloud.offers`. A type has what each of its machines has at least; quarantine is no stock."""
        rows = await self._machines()
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
        states = [InventoryState.CLAIMED.value, InventoryState.CLEANING.value]
        found = await self._machines(
            col(InventoryMachine.installation) == installation, col(InventoryMachine.state).in_(states)
        )
        return [_machine(row) for row in found]

    async def delete(self, ids: Sequence[str]) -> None:
        """See `Cloud.delete`."""
        async with self._db.transaction() as tx:
            await static_inventory.let_go(tx, self.name, _uuids(ids), self._clock.now())

    async def reboot(self, machine_id: str) -> None:
        """See `Rebootable.reboot`."""
        is_claimed = col(InventoryMachine.state) == InventoryState.CLAIMED.value
        found = await self._machines(col(InventoryMachine.id).in_(_uuids([machine_id])), is_claimed)
        if not found:
            raise CloudRefused(self.name, f"no cluster has a machine {machine_id} of it")
        (row,) = found
        if problem := row.power_problem(row.described()):
            raise CloudRefused(self.name, problem)
        try:
            await self._bmcs.reboot(self._login(row))
        except Unclear as fault:
            raise CloudUnavailable(fault.sentence) from fault
        except BmcFault as fault:
            raise CloudRefused(self.name, fault.sentence) from fault

    async def check(self) -> Sequence[Finding]:
        """See `Checkable.check`: what it offers, and whether the machines' power can be had. Changes nothing."""
        return [
            *await findings_of_offers(self),
            *await findings_of_power(await self._machines(), self._bmcs, self._login),
        ]

    async def close(self) -> None:
        """See `Cloud.close`. The store is the service's own."""
        await self._bmcs.close()

    async def _machines(self, *which: ColumnElement[bool]) -> Sequence[InventoryMachine]:
        """Those of the inventory that are so, by name."""
        ours = col(InventoryMachine.cloud) == self.name
        async with self._db.reading() as session:
            found = await session.exec(
                select(InventoryMachine).where(ours, *which).order_by(col(InventoryMachine.name))
            )
            return found.all()

    def _login(self, row: InventoryMachine) -> BmcLogin:
        assert row.sealed_bmc_password
        return login(row.described(), row.sealed_bmc_password, self._keys, self._config.bmc_ca)


def _offered(rows: Sequence[InventoryMachine]) -> Iterable[OfferedMachineType]:
    for machine_type in sorted({row.machine_type for row in rows}):
        entries = [row.described() for row in rows if row.machine_type == machine_type]
        yield OfferedMachineType(
            name=machine_type,
            cpus=min(entry.cpus for entry in entries),
            memory_mib=min(entry.memory_mib for entry in entries),
            disk_gib=min(entry.disk_gib for entry in entries),
        )


def _machine(row: InventoryMachine) -> Machine:
    assert row.node
    assert row.claimed_at
    entry = row.described()
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
        power_problem=row.power_problem(entry),
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
