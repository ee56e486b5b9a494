"""The inventories of a running stack as tests use them."""

from tests.support.api import Api, Json
from tests.support.eventually import eventually
from tests.support.ssh_hosts import SshHost


async def machine(api: Api, host: SshHost) -> Json:
    """A host as the API shows it."""
    return await api.call("GET", f"/machines/{host.name}")


async def until(api: Api, host: SshHost, state: str, *, within: float = 400) -> Json:
    """Wait until the machine is in a state; what it is like then."""

    async def there() -> Json | None:
        seen = await machine(api, host)
        return seen if seen["state"] == state else None

    last = f"{host.name} is {state}"
    try:
        return await eventually(there, within=within, every=0.5, saying=last)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{await machine(api, host)}") from error


async def take_in(api: Api, cloud: str, *hosts: SshHost, machine_type: str = "medium") -> None:
    """Let the inventory's key in on every host, and import them all."""
    public = (await api.call("GET", f"/clouds/{cloud}/operator-key"))["public"]
    for host in hosts:
        await host.let_in(public)
    await api.call("POST", "/machines", {"machines": [host.entry(cloud, machine_type) for host in hosts]})


async def is_clean(host: SshHost) -> bool:
    """Whether nothing of a cluster is on the host: no files, no key, no pods, no name of a node."""
    left = (
        "ls -d /etc/kubernetes /var/lib/etcd /var/lib/cni /usr/local/bin/kubelet /var/lib/caravan 2>/dev/null || true"
    )
    return (
        await host.run(left) == ""
        and "caravan-cluster" not in await host.run("cat /root/.ssh/authorized_keys")
        and await host.run("pgrep -c 'kubelet|etcd|kube-apiserver' || true") == "0\n"
        and await host.run("hostname") == f"{host.name}\n"
    )
