"""What is removed when a machine went and Nova left its volume; a real Nova and Cinder do so in `tests/openstack`."""

from typing import Any, cast

import pytest

from caravan_provisioner.clouds.openstack_api import Api, NotFound
from caravan_provisioner.clouds.openstack_catalogue import Place
from caravan_provisioner.clouds.openstack_config import OpenStackConfig
from caravan_provisioner.clouds.openstack_leftovers import Leftovers

CONFIG = OpenStackConfig(image="debian", networks=("private",), boot_volume_gib=40)
PLACE = Place(networks=["net"], subnet=None, subnet_id=None, floating_network=None)


class Cloud:
    """Volumes in their states, and servers that are still there however they are listed."""

    name = "lab"

    def __init__(self, there: set[str], **volumes: str) -> None:
        self.there, self.volumes, self.deleted = there, volumes, list[str]()

    async def get(self, _service: str, path: str) -> dict[str, Any]:
        """No port is left; a server is there or not."""
        if path.startswith("/ports"):
            return {"ports": []}
        if path.removeprefix("/servers/") not in self.there:
            raise NotFound(self.name, "404")
        return {}

    async def pages(self, _service: str, _path: str) -> list[dict[str, Any]]:
        """The volumes."""
        return [{"id": volume, "status": status} for volume, status in self.volumes.items()]

    async def delete(self, _service: str, path: str) -> None:
        """Remember it."""
        self.deleted.append(path)


def server(name: str, *volumes: str) -> dict[str, Any]:
    attached = [{"id": volume, "delete_on_termination": True} for volume in volumes]
    return {"id": name, "os-extended-volumes:volumes_attached": attached}


async def deleted(cloud: Cloud, *looks: list[dict[str, Any]]) -> list[str]:
    leftovers = Leftovers(cast("Api", cloud), CONFIG)
    for look in looks:
        await leftovers.remove(look, PLACE)
    return cloud.deleted


async def test_volume_of_a_machine_that_went_goes_too_and_nobody_elses() -> None:
    cloud = Cloud({"b"}, own="available", living="in-use", foreign="available")
    leaving, staying = server("a", "own"), server("b", "living")
    assert await deleted(cloud, [leaving, staying], [staying]) == ["/volumes/own"]


async def test_volume_is_remembered_though_nova_forgets_it_before_its_machine_went() -> None:
    assert await deleted(Cloud(set(), own="error"), [server("a", "own")], [server("a")], []) == ["/volumes/own"]


@pytest.mark.parametrize("status", ["deleting", "in-use", "error_deleting"])
async def test_volume_that_cinder_is_at_or_would_refuse_to_delete_is_left(status: str) -> None:
    assert await deleted(Cloud(set(), own=status), [server("a", "own")], []) == []


async def test_machine_that_is_only_missing_from_a_listing_keeps_its_volume() -> None:
    assert await deleted(Cloud({"a"}, own="available"), [server("a", "own")], []) == []
