"""What machines are made of, by the cloud's names: flavors, images, networks; looked up and kept a while."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from time import monotonic
from typing import Any, Generic, TypeVar

from caravan_provisioner.clouds.base import CloudRefused, UnknownMachineType
from caravan_provisioner.clouds.openstack_api import Api, ServiceName
from caravan_provisioner.clouds.openstack_config import OpenStackConfig
from caravan_provisioner.clouds.openstack_names import UnknownName
from caravan_shared.contracts.addresses import IPNetwork
from caravan_shared.contracts.facts import OfferedMachineType

Json = dict[str, Any]
T = TypeVar("T")

_KEPT_S = 300.0  # flavors, images and networks change by the week


@dataclass(frozen=True, slots=True)
class Place:
    """The networks that machines are in."""

    networks: Sequence[str]
    """Ids."""
    subnet: IPNetwork | None
    """Its addresses, if one is configured."""
    subnet_id: str | None
    floating_network: str | None
    """Id."""


@dataclass(frozen=True, slots=True)
class Stock:
    """What machines are made of."""

    flavors: Mapping[str, Json]
    """By machine type."""
    image: str
    """Id."""


class Catalogue:
    """Looks things up. Place and stock apart: machines are listed and deleted even where no new one could be made."""

    def __init__(self, api: Api, config: OpenStackConfig) -> None:
        self._api, self._config = api, config
        self._place, self._stock = _Kept(self._look_at_place), _Kept(self._look_at_stock)

    async def place(self) -> Place:
        """The networks. Raises `UnknownName`, and what the cloud raises."""
        return await self._place.get()

    async def stock(self) -> Stock:
        """The flavors and the image; there is the volume type too. Raises `UnknownName`, and what the cloud raises."""
        return await self._stock.get()

    def forget(self) -> None:
        """Look anew next time: the cloud does not know what we took for known."""
        self._place.forget()
        self._stock.forget()

    async def flavor(self, machine_type: str) -> str:
        """The id of a machine type's flavor. Raises `UnknownMachineType`."""
        flavors = (await self.stock()).flavors
        if machine_type not in flavors:
            raise UnknownMachineType(self._api.name, machine_type)
        return str(flavors[machine_type]["id"])

    async def machine_types(self) -> tuple[OfferedMachineType, ...]:
        """What can be had."""
        flavors = (await self.stock()).flavors
        return tuple(
            OfferedMachineType(name=name, cpus=flavor["vcpus"], memory_mib=flavor["ram"], disk_gib=flavor["disk"])
            for name, flavor in sorted(flavors.items())
        )

    async def _look_at_place(self) -> Place:
        config = self._config
        subnet = await self.subnet(config.subnet) if config.subnet else None
        return Place(
            networks=[(await self.network(name))["id"] for name in config.networks],
            subnet=ip_network(subnet["cidr"]) if subnet else None,
            subnet_id=subnet["id"] if subnet else None,
            floating_network=(await self.network(config.floating_network))["id"] if config.floating_network else None,
        )

    async def _look_at_stock(self) -> Stock:
        if self._config.boot_volume_type:
            await self.volume_type(self._config.boot_volume_type)
        return Stock(flavors=await self.flavors(), image=(await self.image())["id"])

    async def flavors(self) -> dict[str, Json]:
        """Flavors by machine type."""
        listed = await self._api.pages("compute", "/flavors/detail")
        if not self._config.machine_types:
            return {flavor["name"]: flavor for flavor in listed}
        return {
            machine_type: self._chosen("flavor", name, listed)
            for machine_type, name in self._config.machine_types.items()
        }

    async def image(self) -> Json:
        """The image."""
        return await self._named("image", "image", "/images", self._config.image)

    async def volume_type(self, name: str) -> Json:
        """A volume type."""
        return self._chosen("volume type", name, (await self._api.get("block-storage", "/types"))["volume_types"])

    async def network(self, name: str) -> Json:
        """A network."""
        return await self._named("network", "network", "/networks", name)

    async def subnet(self, name: str) -> Json:
        """A subnet."""
        return await self._named("network", "subnet", "/subnets", name)

    async def security_group(self, name: str) -> Json:
        """A security group."""
        return await self._named("network", "security group", "/security-groups", name)

    async def _named(self, service: ServiceName, kind: str, path: str, name: str) -> Json:
        """The one thing of that name or id: asked for by name, and by the whole list only to tell what is near."""
        listed = await self._api.pages(service, path, {"name": name})
        return self._chosen(kind, name, listed or await self._api.pages(service, path))

    def _chosen(self, kind: str, name: str, listed: Sequence[Json]) -> Json:
        by_id = [each for each in listed if each["id"] == name]
        found = by_id or [each for each in listed if each["name"] == name]
        if not found:
            raise UnknownName(self._api.name, kind, name, (str(each["name"]) for each in listed))
        if len(found) > 1:
            ids = ", ".join(each["id"] for each in found)
            raise CloudRefused(self._api.name, f"{len(found)} things are the {kind} {name!r}: name an id of {ids}")
        return found[0]


class _Kept(Generic[T]):
    """The answer to a question, asked again when it is old."""

    def __init__(self, look: Callable[[], Awaitable[T]]) -> None:
        self._look, self._looking = look, asyncio.Lock()
        self._answer: T | None = None
        self._looked_at = 0.0

    async def get(self) -> T:
        async with self._looking:
            if self._answer is None or monotonic() - self._looked_at > _KEPT_S:
                self._answer, self._looked_at = await self._look(), monotonic()
            return self._answer

    def forget(self) -> None:
        self._answer = None
