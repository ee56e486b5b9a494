"""What a cluster needs over the years, hurried: new certificates, backups of etcd, and going back to one."""

import asyncio
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from caravan_cli.up import Stack
from caravan_cli.up.docker import Docker
from tests.real.conftest import PROMPT, Fleet, container_of, engine, fleet_on
from tests.support.api import Json
from tests.support.eventually import eventually
from tests.support.kubeadm import PLAYBOOKS
from tests.support.kubectl import Kubectl

pytestmark = [pytest.mark.real, pytest.mark.timeout(1200)]

RENEW_AFTER_DAYS = 100 / 86_400
HURRIED = {
    **PROMPT,
    "CARAVAN_BOOTSTRAPPER_RENEW_AFTER_DAYS": str(RENEW_AFTER_DAYS),
    "CARAVAN_BOOTSTRAPPER_BACKUP_EVERY_S": "20",
}
BACKUPS = "/var/backups/caravan"
SMALL: Json = {"workers": []}


async def test_certificates_are_renewed_and_etcd_is_backed_up(docker: Docker, tmp_path: Path) -> None:
    with Stack(tmp_path / "stack", ports="auto", env=HURRIED, docker=docker) as stack:
        async with fleet_on(stack, docker, tmp_path) as fleet:
            cluster = await fleet.make("aged", topology="external", etcd={"count": 1}, **SMALL)
            await becomes_like_new(await machines(fleet, cluster))
            kubectl = await fleet.kubectl("aged")
            await eventually(lambda: answers(kubectl), within=120, every=1, saying="kubectl answered")


async def becomes_like_new(containers: dict[str, list[str]]) -> None:
    (etcd,), (control_plane,) = containers["etcd"], containers["control-plane"]
    before = await asyncio.gather(certificates(etcd), certificates(control_plane))
    assert set(before[0]) == {"etcd/server", "etcd/peer", "etcd/healthcheck-client"}
    assert {"apiserver", "apiserver-etcd-client", "front-proxy-client"} <= set(before[1])
    await eventually(lambda: all_new(etcd, before[0]), within=300, every=2, saying="etcd's certificates renewed")
    await eventually(lambda: all_new(control_plane, before[1]), within=300, every=2, saying="the others as well")
    await eventually(lambda: backed_up(control_plane), within=120, every=2, saying="a backup of etcd")


@pytest.mark.parametrize(
    ("name", "topology"),
    [
        ("stacked-past", {"control_plane": {"count": 3}}),
        ("external-past", {"topology": "external", "etcd": {"count": 1}}),
    ],
)
async def test_cluster_goes_back_to_what_its_backup_holds(
    fleet: Fleet, tmp_path: Path, name: str, topology: Json
) -> None:
    cluster = await fleet.make(name, **topology, **SMALL)
    kubectl = await fleet.kubectl(name)
    site = await Site.of(fleet, cluster, tmp_path)
    await kubectl("create", "configmap", "before", "--from-literal=kept=yes")
    site.play("backup", caravan_backup_fetch_dir=str(tmp_path))
    (backup,) = tmp_path.glob(f"{name}-*.db")
    await kubectl("create", "configmap", "after")
    await kubectl("delete", "configmap", "before")

    refusal = site.play("restore", expected=2, caravan_restore_file=str(backup), caravan_restore_confirm="another")
    assert f"caravan_restore_confirm={name}" in refusal
    await kubectl("get", "configmap", "after")
    site.play("restore", caravan_restore_file=str(backup), caravan_restore_confirm=name)

    await eventually(lambda: answers(kubectl), within=120, every=1, saying="kubectl answered")
    kept = await kubectl("get", "configmap", "before", "--output", "jsonpath={.data.kept}")
    assert kept == "yes"
    assert (await kubectl.run("get", "configmap", "after")).code != 0
    await eventually(lambda: healthy(fleet, name), within=120, every=1, saying="Healthy again")
    await fleet.delete(cluster)


@dataclass(frozen=True)
class Site:
    """A cluster's machines as an administrator with a key of his own plays on them."""

    folder: Path
    inventory: Path

    @classmethod
    async def of(cls, fleet: Fleet, cluster: Json, folder: Path) -> "Site":
        """Let the administrator in, and write down who is who."""
        key = folder / "key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
        nodes = await fleet.nodes(cluster["name"])
        known, hosts = [], {}
        for node in nodes:
            container = await container_of(cluster["id"], node["name"])
            host_key = await engine("exec", container, "cat", "/etc/ssh/ssh_host_ed25519_key.pub")
            known.append(f"{node['address']} {host_key}")
            await append(container, "/root/.ssh/authorized_keys", key.with_suffix(".pub").read_text())
            hosts[node["name"]] = {"ansible_host": node["address"], "caravan_role": node["role"]}
        (folder / "known_hosts").write_text("".join(known))
        site = cls(folder, folder / "hosts.yml")
        site.inventory.write_text(yaml.safe_dump(_inventory(cluster["name"], hosts, folder)))
        return site

    def play(self, name: str, expected: int = 0, **variables: Any) -> str:
        """What `ansible-playbook` prints of one play; AssertionError, with all of it, where it ends otherwise."""
        environment = {
            **os.environ,
            "ANSIBLE_CONFIG": str(PLAYBOOKS / "ansible.cfg"),
            "ANSIBLE_HOME": str(self.folder / "a"),
            "ANSIBLE_NOCOLOR": "1",
        }
        ansible = str(Path(sys.executable).with_name("ansible-playbook"))
        command = [ansible, "--inventory", str(self.inventory), str(PLAYBOOKS / f"{name}.yml")]
        command += ["--extra-vars", json.dumps({"caravan_platform": "linux", **variables})]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == expected, f"{name}.yml: {done.stdout}{done.stderr}"
        return done.stdout


def _inventory(cluster: str, hosts: dict[str, dict[str, str]], folder: Path) -> Json:
    groups = {role: [name for name, host in hosts.items() if host["caravan_role"] == role] for role in _ROLES}
    etcd = groups["etcd"]
    variables = {
        "ansible_user": "root",
        "ansible_ssh_private_key_file": str(folder / "key"),
        "ansible_ssh_common_args": f"-o UserKnownHostsFile={folder / 'known_hosts'} -o StrictHostKeyChecking=yes",
        "kubeadm_cluster": cluster,
        "kubeadm_etcd_endpoints": [f"https://{hosts[name]['ansible_host']}:2379" for name in etcd],
        "caravan_etcd_names": etcd,
        "caravan_etcd_members": [hosts[name]["ansible_host"] for name in etcd],
    }
    children = {
        "control_plane": {"hosts": dict.fromkeys(groups["control-plane"])},
        "etcd": {"hosts": dict.fromkeys(etcd)},
        "manager": {"hosts": dict.fromkeys(groups["control-plane"][:1])},
    }
    return {"all": {"hosts": hosts, "vars": variables, "children": children}}


_ROLES = ("control-plane", "etcd")


async def machines(fleet: Fleet, cluster: Json) -> dict[str, list[str]]:
    """The cluster's containers by role."""
    found: dict[str, list[str]] = {role: [] for role in _ROLES}
    for node in await fleet.nodes(cluster["name"]):
        found[node["role"]].append(await container_of(cluster["id"], node["name"]))
    return found


async def certificates(container: str) -> dict[str, str]:
    """A machine's certificates: path below kubeadm's directory → their text; no authorities."""
    names = (
        await engine("exec", container, "find", "/etc/kubernetes/pki", "-name", "*.crt", "-printf", "%P\\n")
    ).split()
    own = [name.removesuffix(".crt") for name in names if not name.endswith("ca.crt")]
    return {name: await engine("exec", container, "cat", f"/etc/kubernetes/pki/{name}.crt") for name in own}


async def all_new(container: str, before: dict[str, str]) -> bool:
    now = await certificates(container)
    assert set(now) == set(before)
    return all(now[name] != before[name] for name in before)


async def backed_up(container: str) -> bool:
    return ".db" in await engine("exec", container, "sh", "-c", f"ls {BACKUPS} 2> /dev/null || true")


async def append(container: str, path: str, line: str) -> None:
    await engine("exec", container, "sh", "-c", f"echo '{line.strip()}' >> {path}")


async def answers(kubectl: Kubectl) -> bool:
    return (await kubectl.run("get", "nodes")).code == 0


async def healthy(fleet: Fleet, cluster: str) -> bool:
    health = (await fleet.api.cluster(cluster))["health"]
    return bool(health and health["verdict"] == "Healthy")
