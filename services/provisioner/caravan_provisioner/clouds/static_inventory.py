"""The inventories' tables, and every move of a machine in them.

Here alone our store is the truth and no cloud behind it. Every function takes an open transaction; whoever claims
machines of a cloud holds that cloud's lock until it commits, so that of any number of claims each sees what those
before it took (on SQLite, which has one writer, that is so anyway).
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import JSON, UniqueConstraint, func
from sqlmodel import Field, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_provisioner.clouds.base import MachineBatch, Owner, QuotaExceeded, UnknownMachineType
from caravan_provisioner.clouds.static_power import power_problem
from caravan_provisioner.store import Table
from caravan_shared.contracts.bmc import bmc_context
from caravan_shared.contracts.events import MachinesChanged, MachinesHandedBack, MachinesHandedOver
from caravan_shared.contracts.machines import (
    MachineEntry,
    MachineNow,
    MachineToWork,
    MachineView,
    MachineWork,
)
from caravan_shared.contracts.spec import Role
from caravan_shared.contracts.states import INVENTORY_MOVES, InventoryState, move
from caravan_shared.plumbing.database import UtcDateTime
from caravan_shared.plumbing.dialects import insert_into
from caravan_shared.plumbing.outbox import say
from caravan_shared.plumbing.sealed_columns import sealed

_TOLD_AT_ONCE = 200  # machines an event; keeps every message far below the bus's 1 MiB
_WORK_IN = {
    InventoryState.CHECKING: MachineWork.CHECK,
    InventoryState.CLAIMED: MachineWork.PREPARE,
    InventoryState.CLEANING: MachineWork.CLEAN,
}
"""What the bootstrapper is asked to do with a machine that enters a state."""


class InventoryMachine(Table, table=True):
    """A machine that an operator told of, and who has it."""

    __tablename__ = "inventory"
    __table_args__ = (UniqueConstraint("address", "ssh_port"),)

    id: UUID = Field(primary_key=True)
    name: str = Field(unique=True)
    cloud: str = Field(index=True)
    address: str
    ssh_port: int
    machine_type: str
    entry: dict[str, Any] = Field(sa_type=JSON)
    """The whole `MachineEntry`; the columns before it are copies that are searched by."""
    sealed_bmc_password: str | None = Field(default=None, sa_column_kwargs=sealed(lambda row: bmc_context(row.name)))
    version: int = 1

    state: str
    since: datetime = Field(sa_type=UtcDateTime)
    reason: str | None = None
    checked_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    ticket: int = 0
    """Counts what the bootstrapper was asked to do; an answer to an older question is void."""
    waits_since: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """When the bootstrapper was asked, if it has not answered yet."""

    installation: str | None = None
    cluster_id: UUID | None = None
    node_set: str | None = None
    role: str | None = None
    batch: str | None = None
    node: str | None = Field(default=None, index=True)
    claimed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)

    @property
    def owner(self) -> Owner | None:
        """Who has claimed it, or had it while it is being cleaned."""
        if self.installation is None or self.cluster_id is None:
            return None
        return Owner(
            self.installation, self.cluster_id, self.node_set or "", Role(self.role or ""), batch=self.batch or ""
        )

    def described(self) -> MachineEntry:
        """What its operator told of it."""
        return MachineEntry.model_validate(self.entry)

    def power_problem(self, entry: MachineEntry) -> str | None:
        """Why its power cannot be had; None: it can, as far as `entry`, which describes it, tells."""
        return power_problem(entry, has_password=self.sealed_bmc_password is not None)

    def view(self) -> MachineView:
        """The machine as others may see it."""
        entry = self.described()
        problem = self.power_problem(entry)
        return MachineView(
            id=self.id,
            entry=entry,
            state=InventoryState(self.state),
            since=self.since,
            reason=self.reason,
            checked_at=self.checked_at,
            cluster_id=self.cluster_id,
            node=self.node,
            has_bmc_password=self.sealed_bmc_password is not None,
            has_power=problem is None,
            power_problem=problem,
            version=self.version,
        )


class InventoryLock(Table, table=True):
    """One row a cloud: whoever changes it is the only one to claim there."""

    __tablename__ = "inventory_locks"

    cloud: str = Field(primary_key=True)
    claims: int


async def claim(tx: AsyncSession, cloud: str, batch: MachineBatch, now: datetime) -> list[InventoryMachine]:
    """The machines of the batch: those claimed under its names before, and free ones for the rest; all or none.

    Raises `UnknownMachineType` or `QuotaExceeded`. The longest idle go first, so that wear is spread.
    """
    await _hold(tx, cloud)
    had = {machine.node: machine for machine in await _claimed_by(tx, cloud, batch)}
    wanting = [name for name in batch.names() if name not in had]
    of_type = col(InventoryMachine.cloud) == cloud, col(InventoryMachine.machine_type) == batch.machine_type
    free = col(InventoryMachine.state) == InventoryState.AVAILABLE.value
    found = await tx.exec(
        select(InventoryMachine)
        .where(*of_type, free)
        .order_by(col(InventoryMachine.since), col(InventoryMachine.name))
        .limit(len(wanting))
        .with_for_update()
    )
    chosen = list(found) if wanting else []
    if len(chosen) < len(wanting):
        if (await tx.exec(select(InventoryMachine.id).where(*of_type).limit(1))).first() is None:
            raise UnknownMachineType(cloud, batch.machine_type)
        count = select(func.count()).select_from(InventoryMachine).where(*of_type, free)
        raise QuotaExceeded(
            project=cloud,
            resource=f"machines of the type {batch.machine_type}",
            need=len(wanting),
            free=(await tx.exec(count)).one(),
        )
    for name, machine in zip(wanting, chosen, strict=True):
        _give(machine, batch.owner, name, now)
        had[name] = machine
    await _enter(tx, chosen, InventoryState.CLAIMED, now)
    return [had[name] for name in batch.names()]


async def let_go(tx: AsyncSession, cloud: str, ids: Collection[UUID], now: datetime) -> None:
    """Have the claimed ones of these machines cleaned."""
    found = await tx.exec(
        select(InventoryMachine)
        .where(
            col(InventoryMachine.cloud) == cloud,
            col(InventoryMachine.id).in_(list(ids)),
            col(InventoryMachine.state) == InventoryState.CLAIMED.value,
        )
        .with_for_update()
    )
    await _enter(tx, found.all(), InventoryState.CLEANING, now)


async def take_in(
    tx: AsyncSession, entries: Iterable[MachineEntry], sealed: dict[str, str], now: datetime
) -> list[InventoryMachine]:
    """Add machines; each is checked before it can be claimed."""
    new = [new_row(entry, sealed.get(entry.name), now) for entry in entries]
    tx.add_all(new)
    await _enter(tx, new, InventoryState.CHECKING, now)
    return new


async def describe(tx: AsyncSession, machine: InventoryMachine, entry: MachineEntry, now: datetime) -> None:
    """Write another description of a machine; a free one that is reached in another way is checked again."""
    before = machine.described()
    machine.cloud, machine.machine_type = entry.cloud, entry.machine_type
    machine.address, machine.ssh_port = str(entry.address), entry.ssh_port
    machine.entry = entry.kept()
    _touch(tx, machine)
    if machine.state == InventoryState.AVAILABLE and access_of(entry) != access_of(before):
        await _enter(tx, [machine], InventoryState.CHECKING, now)
    elif machine.state == InventoryState.CHECKING:
        await _hand_over(tx, [machine], MachineWork.CHECK, now)


async def let_out(tx: AsyncSession, machine: InventoryMachine, *, wipe: bool, now: datetime) -> None:
    """End a quarantine by looking again, after a wipe if it is asked for."""
    machine.reason = None
    await _enter(tx, [machine], InventoryState.CLEANING if wipe else InventoryState.CHECKING, now)


async def note(tx: AsyncSession, back: MachinesHandedBack, now: datetime) -> None:
    """Write down how the bootstrapper's work ended, and say it; answers to older questions change nothing."""
    told = {machine.id: machine for machine in back.machines}
    found = await tx.exec(select(InventoryMachine).where(col(InventoryMachine.id).in_(list(told))).with_for_update())
    done = [
        machine for machine in found if told[machine.id].ticket == machine.ticket and machine.waits_since is not None
    ]
    for machine in done:
        _conclude(machine, told[machine.id].problem, now)
        _touch(tx, machine)
    for start in range(0, len(done), _TOLD_AT_ONCE):
        await say(tx, MachinesChanged(machines=tuple(map(_now, done[start : start + _TOLD_AT_ONCE]))))


async def ask_again(tx: AsyncSession, before: datetime, now: datetime) -> int:
    """Hand over once more, under the same tickets, what waits since `before`; how many that is."""
    waiting = await tx.exec(
        select(InventoryMachine).where(col(InventoryMachine.waits_since) < before).with_for_update()
    )
    machines = waiting.all()
    for machine in machines:
        machine.waits_since = now
        tx.add(machine)
    for state, work in _WORK_IN.items():
        await _say(tx, [machine for machine in machines if machine.state == state], work)
    return len(machines)


async def named(tx: AsyncSession, name: str) -> InventoryMachine | None:
    """The machine of that name, for changing it."""
    found = await tx.exec(select(InventoryMachine).where(col(InventoryMachine.name) == name).with_for_update())
    return found.one_or_none()


def access_of(entry: MachineEntry) -> tuple[object, ...]:
    """What decides how a machine is reached and what it is: not to be changed under a cluster."""
    return entry.cloud, entry.address, entry.ssh_port, entry.ssh_user, entry.host_keys, entry.machine_type


async def _hold(tx: AsyncSession, cloud: str) -> None:
    lock = insert_into(tx, InventoryLock).values(cloud=cloud, claims=1)
    counted = {"claims": col(InventoryLock.claims) + 1}
    await tx.exec(lock.on_conflict_do_update(index_elements=["cloud"], set_=counted))


async def _claimed_by(tx: AsyncSession, cloud: str, batch: MachineBatch) -> Sequence[InventoryMachine]:
    owner = batch.owner
    found = await tx.exec(
        select(InventoryMachine).where(
            col(InventoryMachine.cloud) == cloud,
            col(InventoryMachine.state) == InventoryState.CLAIMED.value,
            col(InventoryMachine.installation) == owner.installation,
            col(InventoryMachine.cluster_id) == owner.cluster_id,
            col(InventoryMachine.node).in_(batch.names()),
        )
    )
    return found.all()


def new_row(entry: MachineEntry, sealed: str | None, now: datetime) -> InventoryMachine:
    """What is stored of a machine that comes in; `sealed`: its BMC's password, if it has one."""
    return InventoryMachine(
        id=uuid4(),
        name=entry.name,
        cloud=entry.cloud,
        address=str(entry.address),
        ssh_port=entry.ssh_port,
        machine_type=entry.machine_type,
        entry=entry.kept(),
        sealed_bmc_password=sealed,
        state=InventoryState.CHECKING,
        since=now,
    )


def _give(machine: InventoryMachine, owner: Owner, node: str, now: datetime) -> None:
    machine.installation, machine.cluster_id, machine.node_set = owner.installation, owner.cluster_id, owner.node_set
    machine.role, machine.batch, machine.node, machine.claimed_at = owner.role.value, owner.batch, node, now


def _conclude(machine: InventoryMachine, problem: str | None, now: datetime) -> None:
    machine.waits_since, machine.reason = None, problem
    if machine.state == InventoryState.CLAIMED:
        return  # what could not be prepared is listed as broken, and its cluster lets it go
    to = InventoryState.QUARANTINED if problem else InventoryState.AVAILABLE
    machine.state, machine.since = move(INVENTORY_MOVES, InventoryState(machine.state), to), now
    machine.checked_at = machine.checked_at if problem else now
    machine.installation = machine.cluster_id = machine.node_set = machine.role = machine.batch = None
    machine.node = machine.claimed_at = None


async def _enter(tx: AsyncSession, machines: Sequence[InventoryMachine], state: InventoryState, now: datetime) -> None:
    for machine in machines:
        machine.state, machine.since = move(INVENTORY_MOVES, InventoryState(machine.state), state).value, now
        machine.reason = None
        _touch(tx, machine)
    await _hand_over(tx, machines, _WORK_IN[state], now)


async def _hand_over(tx: AsyncSession, machines: Sequence[InventoryMachine], work: MachineWork, now: datetime) -> None:
    for machine in machines:
        machine.ticket, machine.waits_since = machine.ticket + 1, now
        tx.add(machine)
    await _say(tx, machines, work)


async def _say(tx: AsyncSession, machines: Sequence[InventoryMachine], work: MachineWork) -> None:
    for start in range(0, len(machines), _TOLD_AT_ONCE):
        told = tuple(_to_work(machine) for machine in machines[start : start + _TOLD_AT_ONCE])
        await say(tx, MachinesHandedOver(work=work, machines=told))


def _now(machine: InventoryMachine) -> MachineNow:
    return MachineNow(
        name=machine.name, cloud=machine.cloud, state=InventoryState(machine.state), reason=machine.reason
    )


def _to_work(machine: InventoryMachine) -> MachineToWork:
    entry = machine.described()
    return MachineToWork(
        id=machine.id,
        ticket=machine.ticket,
        name=machine.name,
        cloud=machine.cloud,
        address=machine.address,
        ssh_port=machine.ssh_port,
        ssh_user=entry.ssh_user,
        host_keys=entry.host_keys,
        cluster_id=machine.cluster_id,
        node=machine.node,
    )


def _touch(tx: AsyncSession, machine: InventoryMachine) -> None:
    machine.version += 1
    tx.add(machine)
