"""Hosts are checked when they come in, prepared when claimed, wiped when they go; what fails is locked away."""

import pytest

from tests.support.api import Api
from tests.support.eventually import eventually
from tests.support.inventory import HOST_KEY
from tests.support.inventory_api import is_clean, machine, take_in, until
from tests.support.ssh_hosts import SshHost, engine, ssh_hosts

pytestmark = [pytest.mark.real, pytest.mark.timeout(1200)]

SPEC = {
    "version": "1.34.2",
    "cloud": "metal",
    "control_plane": {"count": 1, "machine_type": "medium"},
    "workers": [{"name": "workers", "count": 1, "machine_type": "medium"}],
    "network": {"cni": "none"},
}


async def test_hosts_come_in_serve_a_cluster_and_are_clean_again(api: Api) -> None:
    async with ssh_hosts(3) as hosts:
        await take_in(api, "metal", *hosts)
        for host in hosts:
            seen = await until(api, host, "Available")
            assert seen["checked_at"], "nothing is available that was not looked at"
            assert "old-" in await host.run("hostname"), "a check changes nothing"

        cluster = await api.create("stands", SPEC)
        claimed = [await _claimed(api, host.name) for host in hosts]
        mine = [host for host, node in zip(hosts, claimed, strict=True) if node]
        assert len(mine) == 2
        for host in mine:
            await _let_in(host)
            assert (await host.run("hostname")).strip() == (await machine(api, host))["node"]

        # A host that has died meanwhile is never handed on; one that was touched is wiped.
        dead, alive = mine
        await alive.run("mkdir -p /etc/kubernetes/manifests /var/lib/etcd/member && touch /etc/kubernetes/admin.conf")
        await engine("pause", dead.container)
        await api.call("DELETE", f"/clusters/{cluster['id']}")
        await until(api, alive, "Available")
        assert await is_clean(alive)
        locked_away = await until(api, dead, "Quarantined")
        assert "cannot be reached" in locked_away["reason"]
        await _until_gone(api, cluster["id"])

        await engine("unpause", dead.container)
        await api.call("POST", f"/machines/{dead.name}/release", {"wipe": True})
        await until(api, dead, "Available")
        assert await is_clean(dead)
        for host in hosts:
            await api.call("DELETE", f"/machines/{host.name}")


async def test_host_that_is_not_the_one_that_was_told_of_is_never_entered(api: Api) -> None:
    async with ssh_hosts(2) as (stranger, member):
        public = (await api.call("GET", "/clouds/metal/operator-key"))["public"]
        await stranger.let_in(public)
        await member.let_in(public)
        await member.run("mkdir -p /etc/kubernetes && touch /etc/kubernetes/kubelet.conf")
        entries = [stranger.entry("metal", host_keys=[HOST_KEY]), member.entry("metal")]
        await api.call("POST", "/machines", {"machines": entries})
        refused = await until(api, stranger, "Quarantined")
        assert "its SSH host key is not the one that was told" in refused["reason"]
        taken = await until(api, member, "Quarantined")
        assert "node of another cluster" in taken["reason"]
        assert "kubelet.conf" in await member.run("ls /etc/kubernetes"), "a check changes nothing"

        etag = (await machine(api, stranger))["etag"]
        await api.call("PATCH", f"/machines/{stranger.name}", {"host_keys": [stranger.host_key]}, {"If-Match": etag})
        await api.call("POST", f"/machines/{stranger.name}/release", {"wipe": False})
        await until(api, stranger, "Available")
        for host in (stranger, member):
            await api.call("DELETE", f"/machines/{host.name}")


async def _claimed(api: Api, name: str) -> str | None:
    """The node that has the machine, once the cluster has all that it wants."""

    async def enough() -> bool:
        items = (await api.call("GET", "/machines?state=Claimed"))["items"]
        return len(items) == 2

    await eventually(enough, within=120, every=0.5, saying="two machines claimed")
    node: str | None = (await api.call("GET", f"/machines/{name}"))["node"]
    return node


async def _until_gone(api: Api, cluster_id: str) -> None:
    """Wait until nothing of the cluster is left."""

    async def gone() -> bool:
        return (await api.cluster(cluster_id))["phase"] == "Deleted"

    await eventually(gone, within=120, every=0.5, saying="the cluster gone")


async def _let_in(host: SshHost) -> None:
    """Wait until a cluster's key is on the host."""

    async def there() -> bool:
        return "caravan-cluster" in await host.run("cat /root/.ssh/authorized_keys")

    await eventually(there, within=400, every=1, saying=f"{host.name} is prepared")
