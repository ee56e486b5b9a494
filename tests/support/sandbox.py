"""A sandbox to test against: its settings, its cloud API as a caller sees it, and a cluster made in it."""

import secrets
from functools import partial
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import aiohttp

from caravan_sandbox.app import Sandbox
from caravan_sandbox.settings import Settings
from tests.support.authority import VERSION, Authority
from tests.support.eventually import eventually

INSTANT = {"vm_boot_s": 0, "init_s": 0, "join_s": 0, "delete_s": 0, "join_retry_s": 0.02}


def sandbox_settings(folder: Path, **changes: Any) -> Settings:
    """Settings without latencies, on a network of the test's own and any free port."""
    network = IPv4Network(f"127.{65 + secrets.randbelow(180)}.0.0/16")
    return Settings(**{"state_dir": folder, "http_port": 0, "network": network, **INSTANT, **changes})


def restarted(sandbox: Sandbox, **changes: Any) -> Sandbox:
    """A new sandbox on the state of a stopped one."""
    return Sandbox(sandbox.settings.model_copy(update=changes))


class CloudClient:
    """The cloud API as a caller sees it."""

    def __init__(self, url: str, http: aiohttp.ClientSession, token: str = "sandbox") -> None:
        self._url, self._http, self._headers = url, http, {"Authorization": f"Bearer {token}"}

    async def call(self, method: str, path: str, body: Any = None, **query: Any) -> tuple[int, dict[str, Any]]:
        """Status and body."""
        options: dict[str, Any] = {"json": body, "params": query or None, "headers": self._headers}
        async with self._http.request(method, self._url + path, **options) as response:
            return response.status, await response.json()

    async def create(self, *names: str, **fields: Any) -> list[dict[str, Any]]:
        """Order machines."""
        status, body = await self.call("POST", "/v1/machines", {"names": names, "machine_type": "medium", **fields})
        assert status == 202, body
        return list(body["machines"])

    async def machines(self) -> dict[str, dict[str, Any]]:
        """Every machine by name."""
        _, body = await self.call("GET", "/v1/machines")
        return {machine["name"]: machine for machine in body["machines"]}

    async def run(self, machine_id: str, command: str, **arguments: Any) -> dict[str, Any]:
        """Run a console command that has to work."""
        status, body = await self.try_to_run(machine_id, command, **arguments)
        assert status == 200, body
        return body

    async def try_to_run(self, machine_id: str, command: str, **arguments: Any) -> tuple[int, dict[str, Any]]:
        """Run a console command."""
        wanted = {"command": command, "arguments": arguments}
        return await self.call("POST", f"/v1/machines/{machine_id}/commands", wanted)


class Made:
    """A cluster of one control plane and two workers that joined from their user-data."""

    def __init__(self, cloud: CloudClient, authority: Authority) -> None:
        self.cloud, self.authority = cloud, authority
        self.ids: dict[str, str] = {}
        self.addresses: dict[str, str] = {}

    @property
    def address(self) -> str:
        """Of the first control plane."""
        return self.addresses["cp-1"]

    async def add_machines(self, *names: str, **fields: object) -> None:
        """Order machines and wait until they run."""
        await self.cloud.create(*names, **fields)
        await eventually(lambda: self._all_run(names))

    async def init(self, name: str) -> None:
        """Order a machine and make the cluster on it."""
        await self.add_machines(name)
        await self.cloud.run(self.ids[name], "install", version=VERSION)
        config = self.authority.init_config(name)
        await self.cloud.run(self.ids[name], "kubeadm-init", config=config, pki=self.authority.pki())

    async def add_workers(self, *names: str) -> None:
        """Order machines that join by themselves, and wait until they have."""
        await self.add_machines(*names, user_data=self.authority.user_data())
        for name in names:
            await eventually(partial(self._is_member, name), saying=f"{name} is a member")

    async def add_control_plane(self, name: str) -> None:
        """Order a machine and join it as a control plane."""
        await self.add_machines(name)
        await self.cloud.run(self.ids[name], "install", version=VERSION)
        config = self.authority.join_config(control_plane=True, name=name)
        await self.cloud.run(self.ids[name], "kubeadm-join", config=config, pki=self.authority.pki())

    async def _is_member(self, name: str) -> bool:
        return bool((await self.cloud.run(self.ids[name], "inspect"))["result"]["member"])

    async def _all_run(self, names: tuple[str, ...]) -> bool:
        machines = await self.cloud.machines()
        self.ids |= {name: machines[name]["id"] for name in names}
        self.addresses |= {name: machines[name]["address"] for name in names}
        return all(machines[name]["state"] == "active" for name in names)
