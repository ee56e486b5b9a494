"""What Nova made for a machine and left behind when that went: ports and boot volumes.

Nova removes both with their server, but not if Neutron or Cinder is away just then; then they count for ever. They
carry no mark of ours, so all that is touched is what a machine that we saw, and that is gone, had of Nova's own.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from caravan_provisioner.clouds.openstack_api import Api, NotFound
from caravan_provisioner.clouds.openstack_catalogue import Place
from caravan_provisioner.clouds.openstack_config import OpenStackConfig
from caravan_provisioner.clouds.openstack_ports import ports_of
from caravan_provisioner.clouds.openstack_server import volumes
from caravan_shared.plumbing.log import get_logger

log = get_logger(__name__)

Json = dict[str, Any]

_DELETABLE = frozenset({"available", "error"})  # Cinder refuses the others, or is at it


class Leftovers:
    """Watches one installation's machines go."""

    def __init__(self, api: Api, config: OpenStackConfig) -> None:
        self._api, self._config = api, config
        self._had: dict[str, frozenset[str]] = {}
        """The volumes that a machine was ever seen with, by its id: Nova forgets them before it deletes them."""

    async def remove(self, listed: Sequence[Json], place: Place) -> None:
        """Given all servers there are, remove what those left that are gone. Raises what the cloud raises."""
        has = {each["id"]: volumes(each) | self._had.get(each["id"], frozenset()) for each in listed}
        gone = {server: had for server, had in self._had.items() if server not in has}
        await self._remove_ports(sorted(gone), place)
        await self._remove_volumes({volume: server for server, had in gone.items() for volume in had})
        self._had = has

    async def _remove_ports(self, gone: Sequence[str], place: Place) -> None:
        for port in await ports_of(self._api, gone):
            # A port with a name is somebody's own, lent to a machine.
            is_novas = not port["name"] and str(port["device_owner"]).startswith("compute:")
            if is_novas and port["network_id"] in place.networks and await self._is_gone(port["device_id"]):
                await self._api.delete("network", f"/ports/{port['id']}")
                log.warning("port outlived its machine, removed", cloud=self._api.name, port=port["id"])

    async def _remove_volumes(self, served: Mapping[str, str]) -> None:
        """`served`: the machine that each volume was made for."""
        if not served or self._config.boot_volume_gib is None:
            return
        for volume in await self._api.pages("block-storage", "/volumes/detail"):
            server = served.get(volume["id"])
            if server is None or volume["status"] == "deleting" or not await self._is_gone(server):
                continue
            if volume["status"] in _DELETABLE:
                await self._api.delete("block-storage", f"/volumes/{volume['id']}")
                log.warning("volume outlived its machine, removed", cloud=self._api.name, volume=volume["id"])
            else:
                told = {"volume": volume["id"], "status": volume["status"]}
                log.warning("volume outlived its machine and needs an administrator", cloud=self._api.name, **told)

    async def _is_gone(self, machine: str) -> bool:
        try:
            await self._api.get("compute", f"/servers/{machine}")
        except NotFound:
            return True
        return False
