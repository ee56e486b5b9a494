"""The inventories as the API asks about them: list, import, change, remove, let out of quarantine.

A refusal is an answer, not an error: whoever asked is told every problem of every entry at once.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime

from sqlmodel import col, or_, select
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_provisioner.clouds import static_inventory
from caravan_provisioner.clouds.static_inventory import InventoryMachine, access_of
from caravan_shared.contracts.bmc import Bmc
from caravan_shared.contracts.facts import FieldProblem
from caravan_shared.contracts.machines import MachineEntry
from caravan_shared.contracts.requests import (
    AskMachineChange,
    AskMachineImport,
    AskMachineRelease,
    AskMachineRemoval,
    AskMachines,
    Machines,
    Refusal,
)
from caravan_shared.contracts.states import InventoryState
from caravan_shared.plumbing.clock import Clock
from caravan_shared.plumbing.database import Database

_IN_USE = frozenset({InventoryState.CLAIMED, InventoryState.CLEANING})


class MachineDesk:
    """Answers about the inventories of these clouds. `changed` is called with a cloud whose stock is another now."""

    def __init__(
        self, db: Database, clock: Clock, clouds: Collection[str], changed: Callable[[str], Awaitable[None]]
    ) -> None:
        self._db, self._clock, self._clouds, self._changed = db, clock, frozenset(clouds), changed

    async def list(self, asked: AskMachines) -> Machines:
        """Machines by name."""
        statement = select(InventoryMachine).where(col(InventoryMachine.name) > asked.after)
        for column, value in (
            (InventoryMachine.name, asked.name),
            (InventoryMachine.cloud, asked.cloud),
            (InventoryMachine.machine_type, asked.machine_type),
            (InventoryMachine.state, asked.state),
        ):
            if value is not None:
                statement = statement.where(col(column) == str(value))
        statement = statement.order_by(col(InventoryMachine.name)).limit(asked.limit + 1)
        async with self._db.reading() as session:
            rows = (await session.exec(statement)).all()
        return Machines(items=tuple(row.view() for row in rows[: asked.limit]), more=len(rows) > asked.limit)

    async def take_in(self, asked: AskMachineImport) -> Machines:
        """All entries, or none and every reason."""
        now = self._clock.now()
        async with self._db.transaction() as tx:
            known = await _near(tx, asked.entries)
            found = tuple(problems(asked.entries, known, self._clouds))
            if found or asked.only_look:
                return Machines(refusal=Refusal.PROBLEMS, reason="nothing was imported", problems=found)
            there = {row.name: row for row in known}
            new = [entry for entry in asked.entries if entry.name not in there]
            there |= {row.name: row for row in await static_inventory.take_in(tx, new, asked.sealed_bmc_passwords, now)}
            answer = _views([there[entry.name] for entry in asked.entries])
        await self._tell(answer)
        return answer

    async def change(self, asked: AskMachineChange) -> Machines:
        """Another description; what decides how a machine is reached stays while a cluster has it."""

        async def work(tx: AsyncSession, machine: InventoryMachine, now: datetime) -> Machines:
            entry, before = asked.entry, MachineEntry.model_validate(machine.entry)
            if machine.state in _IN_USE and access_of(entry) != access_of(before):
                reason = f"{machine.name} belongs to {machine.node}: only labels, sizes and its BMC can change"
                return Machines(refusal=Refusal.STATE, reason=reason)
            others = [row for row in await _near(tx, [entry]) if row.id != machine.id]
            found = tuple(_without_index(problems([entry], others, self._clouds)))
            if machine.sealed_bmc_password and not asked.sealed_bmc_password and _is_elsewhere(entry.bmc, before.bmc):
                found = (*found, _PASSWORD_IS_FOR_ANOTHER)
            if found:
                return Machines(refusal=Refusal.PROBLEMS, reason="nothing was changed", problems=found)
            if asked.sealed_bmc_password is not None or entry.bmc is None:
                machine.sealed_bmc_password = asked.sealed_bmc_password
            await static_inventory.describe(tx, machine, entry, now)
            return _views([machine])

        return await self._on(asked.entry.name, asked.version, work)

    async def remove(self, asked: AskMachineRemoval) -> Machines:
        """Strike it off."""

        async def work(tx: AsyncSession, machine: InventoryMachine, now: datetime) -> Machines:
            if machine.state in _IN_USE:
                reason = f"{machine.name} is {machine.state} for {machine.node or 'nobody'}: wait until it is free"
                return Machines(refusal=Refusal.STATE, reason=reason)
            await tx.delete(machine)
            return _views([machine])

        return await self._on(asked.name, asked.version, work)

    async def release(self, asked: AskMachineRelease) -> Machines:
        """End its quarantine."""

        async def work(tx: AsyncSession, machine: InventoryMachine, now: datetime) -> Machines:
            if machine.state != InventoryState.QUARANTINED:
                reason = f"{machine.name} is {machine.state}, not in quarantine"
                return Machines(refusal=Refusal.STATE, reason=reason)
            await static_inventory.let_out(tx, machine, wipe=asked.wipe, now=now)
            return _views([machine])

        return await self._on(asked.name, asked.version, work)

    async def _on(
        self,
        name: str,
        version: int,
        work: Callable[[AsyncSession, InventoryMachine, datetime], Awaitable[Machines]],
    ) -> Machines:
        async with self._db.transaction() as tx:
            machine = await static_inventory.named(tx, name)
            if machine is None:
                return Machines(refusal=Refusal.UNKNOWN, reason=f"there is no machine {name}")
            if machine.version != version:
                return Machines(refusal=Refusal.STALE, reason=f"{name} changed since you looked")
            answer = await work(tx, machine, self._clock.now())
        await self._tell(answer)
        return answer

    async def _tell(self, answer: Machines) -> None:
        for cloud in sorted({view.entry.cloud for view in answer.items}):
            await self._changed(cloud)


def problems(
    entries: Sequence[MachineEntry], known: Sequence[InventoryMachine], clouds: Collection[str]
) -> Iterator[FieldProblem]:
    """What keeps entries out, field by field. Pure. An entry that is there as it is given is no problem."""
    there = {row.name: row for row in known}
    at: Mapping[tuple[str, int], str] = {(row.address, row.ssh_port): row.name for row in known}
    names = Counter(entry.name for entry in entries)
    places = Counter(_place(entry) for entry in entries)
    for index, entry in enumerate(entries):
        field = f"machines.{index}"
        if entry.cloud not in clouds:
            offered = ", ".join(sorted(clouds)) or "none is configured"
            yield FieldProblem(
                field=f"{field}.cloud",
                problem=f"there is no cloud {entry.cloud} of kind static",
                remedy=f"use one of these: {offered}",
            )
        row = there.get(entry.name)
        if names[entry.name] > 1:
            yield FieldProblem(
                field=f"{field}.name",
                problem=f"{entry.name} is given {names[entry.name]} times",
                remedy="give each machine a name of its own",
            )
        elif row and MachineEntry.model_validate(row.entry) != entry:
            yield FieldProblem(
                field=f"{field}.name",
                problem=f"there is a machine {entry.name} already, and it is described otherwise",
                remedy="change that one, or use another name",
            )
        holder = at.get(_place(entry))
        if places[_place(entry)] > 1 or (holder and holder != entry.name):
            who = holder if holder and holder != entry.name else "another entry"
            yield FieldProblem(
                field=f"{field}.address",
                problem=f"{entry.address} with port {entry.ssh_port} is that of {who}",
                remedy="correct the address or the port: no host may stand in an inventory twice",
            )


def _without_index(found: Iterator[FieldProblem]) -> Iterator[FieldProblem]:
    for problem in found:
        yield problem.model_copy(update={"field": problem.field.removeprefix("machines.0.")})


_PASSWORD_IS_FOR_ANOTHER = FieldProblem(
    field="bmc.password",
    problem="the BMC's address is another one, and the password is kept for the one before",
    remedy="give the password with the address",
)


def _is_elsewhere(bmc: Bmc | None, before: Bmc | None) -> bool:
    """A password that nobody can read any more is not sent to a host that it was not given for."""
    return bmc is not None and before is not None and bmc.address != before.address


def _place(entry: MachineEntry) -> tuple[str, int]:
    return str(entry.address), entry.ssh_port


async def _near(tx: AsyncSession, entries: Sequence[MachineEntry]) -> Sequence[InventoryMachine]:
    """The machines that entries may collide with."""
    found = await tx.exec(
        select(InventoryMachine).where(
            or_(
                col(InventoryMachine.name).in_([entry.name for entry in entries]),
                col(InventoryMachine.address).in_([str(entry.address) for entry in entries]),
            )
        )
    )
    return found.all()


def _views(rows: Sequence[InventoryMachine]) -> Machines:
    return Machines(items=tuple(row.view() for row in rows))
