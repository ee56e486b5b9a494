"""Why servers are in ERROR. Nova's listing tells it, but not of one that was never placed: its fault lies in another
database (cell0), which only the question for that one server looks into. So those are asked for, once each.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import replace

from caravan_provisioner.clouds.base import CloudMachineState, Machine
from caravan_provisioner.clouds.openstack_api import Api, NotFound
from caravan_provisioner.clouds.openstack_server import fault


class Faults:
    """The faults of one cloud's machines, as far as listings leave them out."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._known: dict[str, str | None] = {}

    async def of(self, machines: Iterable[Machine]) -> list[Machine]:
        """The machines with their faults. Raises what the cloud raises."""
        machines = list(machines)
        silent = [each for each in machines if each.state is CloudMachineState.ERROR and each.fault is None]
        self._known = {each.id: self._known[each.id] for each in silent if each.id in self._known}
        await asyncio.gather(*(self._ask(each.id) for each in silent if each.id not in self._known))
        return [replace(each, fault=each.fault or self._known.get(each.id)) for each in machines]

    async def _ask(self, server: str) -> None:
        try:
            self._known[server] = fault((await self._api.get("compute", f"/servers/{server}"))["server"])
        except NotFound:
            self._known[server] = None
