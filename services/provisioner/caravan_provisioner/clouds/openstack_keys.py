"""Machines' SSH host keys, read from their consoles: cloud-init prints them there at first boot, and Nova shows it.

So the cloud vouches for a key, not whoever answers at an address. A batch boots with equal user-data, so nothing in it
could be one machine's own secret; where every machine has user-data of its own, its key was made by us and stands in
the listing already. One question a machine is the price of consoles; it is asked when the machine should have booted
and then ever later, and no more once it is old: keys do not change, and consoles forget.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from caravan_provisioner.clouds.base import CloudMachineState, Machine
from caravan_provisioner.clouds.openstack_api import Api, NotFound
from caravan_provisioner.clouds.openstack_server import host_keys
from caravan_shared.plumbing.errors import GiveUp, Retry
from caravan_shared.plumbing.log import get_logger

log = get_logger(__name__)

CONSOLE_LINES = 2000  # cloud-init is not the last to write on a console
_FIRST_WAIT_S, _LONGEST_WAIT_S = 5.0, 60.0
_ASKED_FOR = timedelta(hours=1)  # after its creation; a machine that has not booted by then is replaced


class HostKeys:
    """The keys of one cloud's machines, as far as they are known."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._known: dict[str, tuple[str, ...]] = {}
        self._next: dict[str, tuple[datetime, float]] = {}

    async def of(self, machines: Sequence[Machine], now: datetime) -> list[Machine]:
        """The machines with their keys; asks for those that are due."""
        listed = {machine.id for machine in machines}
        for known in (self._known, self._next):
            for gone in known.keys() - listed:
                del known[gone]
        await asyncio.gather(*(self._ask(machine) for machine in self._due(machines, now)))
        return [replace(each, host_keys=each.host_keys or self._known.get(each.id, ())) for each in machines]

    def _due(self, machines: Iterable[Machine], now: datetime) -> list[Machine]:
        due = []
        for machine in machines:
            if (
                machine.host_keys
                or machine.id in self._known
                or machine.state is not CloudMachineState.ACTIVE
                or machine.owner is None
            ):
                continue
            at, wait_s = self._next.get(machine.id, (now, _FIRST_WAIT_S))
            if now >= at and now - machine.created_at < _ASKED_FOR:
                self._next[machine.id] = (now + timedelta(seconds=wait_s), min(wait_s * 2, _LONGEST_WAIT_S))
                due.append(machine)
        return due

    async def _ask(self, machine: Machine) -> None:
        """A console that cannot be read now is read later: one machine's trouble must not hide all others."""
        question = {"os-getConsoleOutput": {"length": CONSOLE_LINES}}
        try:
            answer = await self._api.post("compute", f"/servers/{machine.id}/action", question)
        except NotFound:
            return
        except (Retry, GiveUp) as error:
            log.warning("console not read", cloud=self._api.name, machine=machine.id, reason=error.reason)
            return
        if keys := host_keys(answer.get("output") or ""):
            self._known[machine.id] = keys
