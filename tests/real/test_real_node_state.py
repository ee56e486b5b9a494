"""A machine is checked, prepared, left alone when all is so, refused what does not hold, and given back as it came."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from ipaddress import IPv4Network, ip_interface
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml

from caravan_bootstrapper import ssh
from caravan_bootstrapper.artifacts import Artifacts
from caravan_bootstrapper.kubeadm import user_data
from caravan_cli.up.clouds import filled_mirror
from caravan_cli.up.errors import StackError
from caravan_provisioner.clouds.base import CloudMachineState, Machine, MachineBatch, Owner
from caravan_provisioner.clouds.docker import DockerCloud
from caravan_provisioner.clouds.docker_config import DockerConfig
from caravan_provisioner.clouds.docker_engine import Engine
from caravan_shared.contracts.spec import Cni, Network, Role
from caravan_shared.plumbing.errors import CaravanError
from caravan_shared.plumbing.ssh_keys import make_ssh_key_pair
from tests.support.eventually import eventually
from tests.support.kubeadm import COMMON, PLAYBOOKS

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

VERSION = "1.34.2"
SUBNETS = IPv4Network("10.91.0.0/16")
TOUCHED = "/etc /usr/local /opt /var/lib/caravan /var/lib/kubelet /var/lib/etcd /var/lib/cni"


@pytest.fixture(scope="module")
def mirror() -> Path:
    """A filled mirror."""
    try:
        return Path(os.environ.get("CARAVAN_MIRROR") or filled_mirror()).resolve()
    except StackError as error:
        pytest.skip(f"THE STATE OF NODES IS NOT TESTED HERE: {error}")


@pytest.fixture(scope="module")
async def artifacts(mirror: Path) -> dict[str, Any]:
    """What the bootstrapper tells runs of that mirror."""
    return await Artifacts(PLAYBOOKS, str(mirror)).for_roles(VERSION, Network(cni=Cni.FLANNEL))


@dataclass
class Node:
    """A bare machine and the role `linux` on it."""

    name: str
    id: str
    folder: Path

    async def play(self, entry: str, *options: str, **variables: Any) -> str:
        """What `ansible` prints of one entry point; AssertionError, with all of it, where the entry point fails."""
        inventory = yaml.safe_load((self.folder / "hosts.yml").read_text())
        inventory["all"]["vars"] |= variables
        (self.folder / "run.yml").write_text(yaml.safe_dump(inventory))
        task = ("--module-name", "ansible.builtin.include_role", "--args", f"name=linux tasks_from={entry}")
        where = ("--inventory", str(self.folder / "run.yml"), "--playbook-dir", str(PLAYBOOKS))
        ansible = str(Path(sys.executable).with_name("ansible"))
        environment = {
            **os.environ,
            "ANSIBLE_CONFIG": str(PLAYBOOKS / "ansible.cfg"),
            "ANSIBLE_HOME": str(self.folder / "a"),
            "ANSIBLE_NOCOLOR": "1",
        }
        return await _run(ansible, "all", *where, *task, *options, env=environment)

    async def changes(self, entry: str, *options: str) -> list[str]:
        """What an entry point says that it changed."""
        said = await self.play(entry, *options)
        results = [json.loads("{" + part.partition("=> {")[2]) for part in _results(said)]
        return [change for result in results for change in result.get("changes", ())]

    async def shell(self, command: str) -> str:
        """What a command prints there."""
        return await _run("docker", "exec", self.id, "sh", "-c", command)

    async def until(self, command: str, said: str, *, within: float, every: float = 0.2) -> None:
        """Wait until a command prints this."""

        async def look() -> bool:
            return said in await self.shell(f"{command} || true")

        await eventually(look, within=within, every=every, saying=f"{command} says {said}")

    async def files(self) -> dict[str, str]:
        """Path → checksum of all that a node's state may touch; links by their targets."""
        found = await self.shell(
            f"find {TOUCHED} -type f -exec sha256sum {{}} + 2> /dev/null; "
            f"find {TOUCHED} -type l -printf '%l  %p\\n' 2> /dev/null; true"
        )
        return {path: digest for digest, path in (line.split("  ", 1) for line in found.splitlines())}


def _results(said: str) -> list[str]:
    """One text for each task's result that `ansible` prints, as `host | STATE => {…}`."""
    parts: list[list[str]] = []
    for line in said.splitlines():
        if " => {" in line:
            parts.append([])
        if parts:
            parts[-1].append(line)
    return ["\n".join(part) for part in parts]


@pytest.fixture
async def node(mirror: Path, artifacts: dict[str, Any], tmp_path: Path) -> AsyncIterator[Node]:
    """A new container, entered with a key of its own. Skips where there is no engine or no node image."""
    cloud = DockerCloud("docker", DockerConfig(subnets=SUBNETS, mounts=(f"{mirror}:{mirror}:ro",)))
    engine = Engine("test", DockerConfig().url, DockerConfig().timeout_s)
    try:
        await engine.require_image(DockerConfig().image)
    except CaravanError as error:
        pytest.skip(f"THE STATE OF NODES IS NOT TESTED HERE: {error}; it needs a Docker engine and `make node-image`")
    finally:
        await engine.close()
    installation, pair = uuid4().hex[:8], make_ssh_key_pair(ssh.COMMENT)
    text = user_data(join=None, node=None, authorized_key=pair.public, version=VERSION)
    owner = Owner(installation, uuid4(), "workers", Role.WORKER, "k3x9")
    await cloud.create(MachineBatch("state-workers-k3x9", (1,), "small", owner, text))
    try:
        machine = await eventually(lambda: _booted(cloud, installation), within=60, every=0.2, saying="it is up")
        made = Node(machine.name, machine.id, tmp_path)
        _write_inventory(made, machine.address or "", machine.host_keys, pair.private, artifacts)
        await made.until("cloud-init status", "done", within=60)
        yield made
    finally:
        await cloud.delete([machine.id for machine in await cloud.machines(installation)])
        await cloud.close()


async def _booted(cloud: DockerCloud, installation: str) -> Machine | None:
    (machine,) = await cloud.machines(installation)
    return machine if machine.state is CloudMachineState.ACTIVE else None


def _write_inventory(
    node: Node, address: str, host_keys: tuple[str, ...], private_key: str, artifacts: dict[str, Any]
) -> None:
    key, known = node.folder / "key", node.folder / "known_hosts"
    key.touch(mode=0o600)
    key.write_text(private_key)
    known.write_text("".join(f"{address} {host_key}\n" for host_key in host_keys))
    variables = {
        **COMMON,
        "ansible_user": "root",
        "ansible_ssh_private_key_file": str(key),
        "ansible_ssh_common_args": f"-o UserKnownHostsFile={known} -o StrictHostKeyChecking=yes",
        "caravan_role": "worker",
        "caravan_version": VERSION,
        "caravan_cni": "flannel",
        "caravan_artifacts": artifacts,
        "caravan_resolvers": ["192.0.2.53:53"],
        "caravan_zone": "caravan.test",
        "caravan_joins_in_flight": 1,
        "caravan_etcd_members": [],
        "caravan_etcd_names": [],
        **dict.fromkeys(("caravan_pki_file", "caravan_tokens_file", "caravan_join_file"), "/nowhere"),
        "kubeadm_node": node.name,
    }
    inventory = {"all": {"hosts": {node.name: {"ansible_host": address}}, "vars": variables}}
    (node.folder / "hosts.yml").write_text(yaml.safe_dump(inventory))


async def test_machine_is_prepared_once_and_given_back_as_it_came(node: Node) -> None:
    await node.play("preflight")
    before = await node.files()
    would = await node.changes("install", "--check")
    assert await node.files() == before
    changed = await node.changes("install")
    assert would == changed
    assert {"artifact /usr/local/bin/kubelet", "unit containerd.service (restart)"} <= set(changed)
    assert f"v{VERSION}" in await node.shell("kubelet --version && kubeadm version && crictl version")
    assert await node.changes("install") == []
    assert await node.changes("install", "--check") == []
    await node.play("preflight")
    assert await node.changes("reset", "--check") == await node.changes("reset") != []
    assert await node.files() == before
    assert await node.changes("reset") == []
    await node.shell("ctr version && resolvectl status")


@pytest.mark.parametrize("kind", ["binaries", "archives", "images"])
async def test_wrong_checksum_is_refused_by_name_and_nothing_of_the_file_is_left(
    node: Node, artifacts: dict[str, Any], kind: str
) -> None:
    wrong = {**artifacts["worker"][kind][-1], "sha256": "0" * 64}
    told = {**artifacts, "worker": {**artifacts["worker"], kind: [wrong]}}
    with pytest.raises(AssertionError) as refused:
        await node.play("install", caravan_artifacts=told)
    assert f"{wrong['url']}: its SHA-256 is" in str(refused.value)
    target = {"binaries": wrong.get("path"), "archives": "/var/lib/caravan/archive"}.get(kind)
    left = await node.shell(
        f"find {TOUCHED} -name '*.partial' 2> /dev/null; ls {target or '/none'} 2> /dev/null; ctr -n k8s.io i ls -q"
    )
    assert left.split() == []


async def test_killed_preparation_is_finished_by_the_next(node: Node) -> None:
    """A restart that was not come to is made up for, though its file is already as wanted."""
    first = asyncio.create_task(node.changes("install"))
    await node.until("cat /etc/containerd/config.toml", "sandbox_image", within=60, every=0.01)
    await node.shell("pkill --signal KILL --exact --full /usr/bin/python3")  # a module runs as that, from its input
    with pytest.raises(AssertionError):
        await first
    changed = await node.changes("install")
    assert "file /etc/containerd/config.toml" not in changed
    assert "unit containerd.service (restart)" in changed
    assert await node.changes("install") == []


async def test_every_problem_of_a_machine_is_told_at_once(node: Node) -> None:
    await node.shell("hostname elsewhere; rm /usr/bin/socat; nohup python3 -m http.server 10250 > /dev/null 2>&1 &")
    await node.until("ss -ltn", ":10250", within=20)
    with pytest.raises(AssertionError) as refused:
        await node.play("preflight", kubeadm_node="another")
    for sentence in (
        "another cannot become a node yet.",
        "its host name is elsewhere: hostnamectl set-hostname another",
        "port 10250 is taken by python3",
        "commands are missing (socat): install",
    ):
        assert sentence in str(refused.value)


async def test_virtual_ip_is_checked_before_anything_starts_and_taken_away_with_the_rest(node: Node) -> None:
    hosts = node.folder / "hosts.yml"
    inventory = yaml.safe_load(hosts.read_text())
    hosts.write_text(yaml.safe_dump({**inventory, "first_control_plane": {"hosts": {node.name: None}}}))
    network = ip_interface(f"{inventory['all']['hosts'][node.name]['ansible_host']}/24").network
    gateway, free = network[1], network[-6]
    for address, says in ((gateway, "answers for it"), ("10.200.0.250", "is in another network than its address")):
        with pytest.raises(AssertionError, match=f"the virtual IP {address} .*{says}"):
            await node.play("preflight", caravan_role="control-plane", caravan_virtual_ip=str(address))
    await node.play("preflight", caravan_role="control-plane", caravan_virtual_ip=str(free))

    await node.play("install")
    await node.shell(f"ip address add {free}/32 dev eth0")  # as a kube-vip that was killed would leave it
    assert f"virtual IP {free}" in await node.play("reset", caravan_virtual_ip=str(free))
    assert str(free) not in await node.shell("ip address")


async def _run(*command: str, env: dict[str, str] | None = None) -> str:
    """What a command prints; AssertionError with all that it says."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, env=env
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, f"{command[0]}: {said.decode()}"
    return said.decode()
