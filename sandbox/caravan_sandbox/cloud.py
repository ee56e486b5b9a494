"""The simulated cloud: machines by id, made and deleted as time passes. In memory, saved through the store; no network.

A machine's life: asked for → (boot time) → active with an address, or error → deletion asked for → gone.
Whoever wants to know subscribes with `when_running` (it has begun to), `when_stopped` and `when_gone`.
"""

import random
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from caravan_sandbox.faults import FaultKind, Faults
from caravan_sandbox.machines import MACHINE_TYPES, AddressPool, Machine, MachineState, machine_id
from caravan_sandbox.scheduler import Scheduler
from caravan_sandbox.settings import Settings
from caravan_sandbox.store import Store

Told = Callable[[Machine], None]

BOOT_FAULT = "simulated fault: the machine did not boot"


class CloudError(Exception):
    """A call that the cloud refuses."""


@dataclass
class QuotaExceeded(CloudError):
    """More machines were asked for than the quota has left."""

    need: int
    free: int


class UnknownMachineType(CloudError):
    """No such size."""


class NotRunning(CloudError):
    """Only a machine that runs can be rebooted."""


@dataclass(frozen=True)
class Ordered:
    """What is asked for: equal machines, one a name. Names need not be unique."""

    names: tuple[str, ...]
    machine_type: str
    tags: Mapping[str, str]
    user_data: str | None


class Cloud:
    """All machines, and what happens to them."""

    def __init__(
        self, settings: Settings, store: Store, scheduler: Scheduler, faults: Faults, chance: random.Random
    ) -> None:
        self.settings = settings
        self.machines: dict[str, Machine] = {}
        self.user_data: dict[str, str] = {}
        self.when_running: list[Told] = []
        self.when_stopped: list[Told] = []
        self.when_gone: list[Told] = []
        self._by_address: dict[str, Machine] = {}
        self._sorted_ids: list[str] | None = None
        self._store, self._scheduler, self._faults, self._chance = store, scheduler, faults, chance
        self._addresses = AddressPool(settings.network, chance.randrange(settings.network.num_addresses))

    def resume(self) -> None:
        """Take up the machines of an earlier run where they stood; what fell due meanwhile happens at once."""
        self.user_data = self._store.user_data()
        for machine in self._store.machines():
            self._add(machine)
            if machine.address:
                self._addresses.hold(machine.address)
                self._by_address[machine.address] = machine
        for machine in list(self.machines.values()):
            if machine.gone_at is not None:
                self._scheduler.at(machine.gone_at, lambda machine=machine: self._vanish(machine))  # type: ignore[misc]
            elif machine.state is MachineState.BUILDING or machine.rebooting:
                self._scheduler.at(machine.boots_at, lambda machine=machine: self._boot(machine))  # type: ignore[misc]
        self._store.forget_unused_user_data(
            {machine.user_data for machine in self.machines.values() if machine.user_data}
        )

    def create(self, ordered: Ordered) -> list[Machine]:
        """Accept an order. Raises UnknownMachineType, QuotaExceeded."""
        if ordered.machine_type not in MACHINE_TYPES:
            raise UnknownMachineType(ordered.machine_type)
        limit = self.settings.machines_limit
        if limit is not None and len(self.machines) + len(ordered.names) > limit:
            raise QuotaExceeded(need=len(ordered.names), free=max(0, limit - len(self.machines)))
        digest = self._keep_user_data(ordered.user_data)
        return [self._order_one(name, ordered, digest) for name in ordered.names]

    def find(self, tags: Mapping[str, str], limit: int, after: str = "") -> tuple[list[Machine], str | None]:
        """A page of the machines that carry all the tags, in order of creation, and where the next one begins."""
        ids = self._ids()
        page: list[Machine] = []
        for index in range(bisect_right(ids, after), len(ids)):
            machine = self.machines[ids[index]]
            if tags.items() <= machine.tags.items():
                if len(page) == limit:
                    return page, page[-1].id
                page.append(machine)
        return page, None

    def at_address(self, address: str) -> Machine | None:
        """The machine that has the address."""
        return self._by_address.get(address)

    def boot_text(self, machine: Machine) -> str | None:
        """The user-data that the machine boots with."""
        return self.user_data[machine.user_data] if machine.user_data else None

    def delete(self, machine_ids: Iterable[str]) -> None:
        """Stop machines at once and take them off the list a little later; unknown ids are fine."""
        now = self._scheduler.clock()
        for one_id in machine_ids:
            machine = self.machines.get(one_id)
            if machine is None or machine.gone_at is not None:
                continue
            was_running = machine.running
            machine.gone_at = now + self.spread(self.settings.delete_s)
            self._store.save_machine(machine)
            self._scheduler.at(machine.gone_at, lambda machine=machine: self._vanish(machine))  # type: ignore[misc]
            if was_running:
                self._tell(self.when_stopped, machine)

    def power(self, machine: Machine, *, on: bool) -> None:
        """Switch a machine. It stops at once, and takes its boot time to run again."""
        if machine.powered_on is on:
            return
        was_running = machine.running
        machine.powered_on = on
        if on:
            self._boot_again(machine)
        self._store.save_machine(machine)
        if was_running:
            self._tell(self.when_stopped, machine)

    def reboot(self, machine: Machine) -> None:
        """Cut a running machine's power and switch it on again. Raises NotRunning."""
        if not machine.running:
            raise NotRunning(machine.name)
        self._boot_again(machine)
        self._store.save_machine(machine)
        self._tell(self.when_stopped, machine)

    def _boot_again(self, machine: Machine) -> None:
        machine.rebooting = machine.state is MachineState.ACTIVE
        if machine.rebooting:
            machine.boots_at = self._scheduler.clock() + self.spread(self.settings.vm_boot_s)
            self._scheduler.at(machine.boots_at, lambda: self._boot(machine))

    def spread(self, seconds: float) -> float:
        """A latency around its mean, by the jitter."""
        jitter = self.settings.jitter
        return seconds * self._chance.uniform(1 - jitter, 1 + jitter) if seconds else 0.0

    def _keep_user_data(self, text: str | None) -> str | None:
        if text is None:
            return None
        digest = self._store.keep_user_data(text)
        self.user_data[digest] = text
        return digest

    def _order_one(self, name: str, ordered: Ordered, user_data: str | None) -> Machine:
        now = self._scheduler.clock()
        machine = Machine(
            id=machine_id(now),
            name=name,
            machine_type=ordered.machine_type,
            created_at=now,
            boots_at=now + self.spread(self.settings.vm_boot_s),
            tags=dict(ordered.tags),
            user_data=user_data,
            boot_fault=BOOT_FAULT if self._faults.take(FaultKind.MACHINE_ERROR, name=name) else None,
        )
        self._add(machine)
        self._store.save_machine(machine)
        self._scheduler.at(machine.boots_at, lambda: self._boot(machine))
        return machine

    def _add(self, machine: Machine) -> None:
        self.machines[machine.id] = machine
        self._sorted_ids = None

    def _ids(self) -> list[str]:
        if self._sorted_ids is None:
            self._sorted_ids = sorted(self.machines)
        return self._sorted_ids

    def _boot(self, machine: Machine) -> None:
        boots_now = machine.boots_at <= self._scheduler.clock()  # not so if it was switched off and on meanwhile
        booting = machine.state is MachineState.BUILDING or machine.rebooting
        if not booting or machine.gone_at is not None or not boots_now:
            return
        machine.rebooting = False
        machine.fault = machine.boot_fault or self._give_address(machine)
        machine.state = MachineState.ERROR if machine.fault else MachineState.ACTIVE
        self._store.save_machine(machine)
        if machine.running:
            self._tell(self.when_running, machine)

    def _give_address(self, machine: Machine) -> str | None:
        """Give the machine an address unless it has one; returns what went wrong."""
        if machine.address:
            return None
        try:
            machine.address = self._addresses.take()
        except LookupError as error:
            return str(error)
        self._by_address[machine.address] = machine
        return None

    def _vanish(self, machine: Machine) -> None:
        if self.machines.pop(machine.id, None) is None:
            return
        self._sorted_ids = None
        self._store.drop_machine(machine.id)
        if machine.address:
            self._addresses.free(machine.address)
            del self._by_address[machine.address]
        self._tell(self.when_gone, machine)

    def _tell(self, listeners: list[Told], machine: Machine) -> None:
        for told in listeners:
            told(machine)
