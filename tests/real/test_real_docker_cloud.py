"""The Docker adapter passes the suite of all clouds on a real engine, and its containers are machines."""

import asyncio
from collections.abc import AsyncIterator
from ipaddress import IPv4Network
from pathlib import Path
from typing import Protocol
from uuid import uuid4

import pytest

from caravan_provisioner.clouds import docker_network
from caravan_provisioner.clouds.base import (
    Cloud,
    CloudMachineState,
    CloudRefused,
    CloudUnavailable,
    Machine,
    MachineBatch,
    QuotaExceeded,
)
from caravan_provisioner.clouds.docker import DockerCloud
from caravan_provisioner.clouds.docker_config import DockerConfig
from caravan_provisioner.clouds.docker_engine import Engine
from caravan_shared.plumbing.errors import CaravanError
from tests.contracts.cloud_suite import CloudSuite
from tests.support.eventually import eventually

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

SUBNETS = IPv4Network("10.90.0.0/16")


@pytest.fixture(scope="session")
def config() -> DockerConfig:
    """An adapter's configuration that no stack on this machine has."""
    return DockerConfig(subnets=SUBNETS, machines_limit=200)


@pytest.fixture(scope="session")
async def engine(config: DockerConfig) -> AsyncIterator[Engine]:
    """This machine's engine, asked behind the adapter's back. Skips where there is none, or no node image."""
    engine = Engine("test", config.url, config.timeout_s)
    try:
        await engine.require_image(config.image)
    except CaravanError as error:
        pytest.skip(f"THE DOCKER CLOUD IS NOT TESTED HERE: {error}; it needs a Docker engine and `make node-image`")
    yield engine
    await engine.close()


@pytest.fixture
async def docker_cloud(engine: Engine, config: DockerConfig) -> AsyncIterator[DockerCloud]:
    """The adapter under test."""
    cloud = DockerCloud("docker", config)
    yield cloud
    await cloud.close()


class Other(Protocol):
    """Makes an adapter that is configured otherwise."""

    def __call__(self, **otherwise: object) -> DockerCloud: ...


@pytest.fixture
async def other(config: DockerConfig) -> AsyncIterator[Other]:
    """Adapters on the same engine, closed afterwards."""
    clouds: list[DockerCloud] = []

    def make(**otherwise: object) -> DockerCloud:
        clouds.append(DockerCloud("docker", config.model_copy(update=otherwise)))
        return clouds[-1]

    yield make
    for cloud in clouds:
        await cloud.close()


class TestDockerCloud(CloudSuite):
    """The suite, and what only containers do."""

    patience_s = 90.0

    @pytest.fixture
    def cloud(self, docker_cloud: DockerCloud) -> Cloud:
        """The adapter."""
        return docker_cloud

    async def active(self, cloud: DockerCloud, batch: MachineBatch) -> list[Machine]:
        """The machines of a batch, up."""
        await cloud.create(batch)
        machines = await self.until(
            cloud, batch.owner.installation, lambda all_of: all(m.state is CloudMachineState.ACTIVE for m in all_of)
        )
        return list(machines)

    async def test_machine_shows_the_host_key_the_cloud_told_and_lets_in_whom_its_user_data_names(
        self, docker_cloud: DockerCloud, installation: str, tmp_path: Path
    ) -> None:
        batch = self.batch(installation, 1, 2)
        first, second = await self.active(docker_cloud, await _with_key(batch, tmp_path))
        assert first.host_keys != second.host_keys
        assert await _ssh(tmp_path, first, "hostname; cat /root/ran") == f"{first.name}\nran\n"
        with pytest.raises(AssertionError, match="REMOTE HOST IDENTIFICATION HAS CHANGED"):
            await _ssh(tmp_path, first, "true", pretending=second.host_keys)

    async def test_machine_boots_without_a_failed_unit(
        self, docker_cloud: DockerCloud, installation: str, tmp_path: Path
    ) -> None:
        (machine,) = await self.active(docker_cloud, await _with_key(self.batch(installation), tmp_path))
        assert await _ssh(tmp_path, machine, "systemctl is-system-running --wait || systemctl --failed") == "running\n"
        assert "overlayfs" in await _ssh(tmp_path, machine, "ctr plugins ls | grep -w ok")

    async def test_machines_of_a_cluster_share_a_network_that_goes_with_the_last_of_them(
        self, engine: Engine, docker_cloud: DockerCloud, installation: str
    ) -> None:
        cluster = uuid4()
        await docker_cloud.create(self.batch(installation, 1, cluster=cluster))
        await docker_cloud.create(self.batch(installation, 2, cluster=cluster))
        await docker_cloud.create(self.batch(installation, 3))
        assert len(await _networks(engine, installation)) == 2
        first, second, third = sorted(await docker_cloud.machines(installation), key=lambda machine: machine.name)
        await docker_cloud.delete([first.id, third.id])
        assert len(await _networks(engine, installation)) == 1
        await docker_cloud.delete([second.id])
        assert not await _networks(engine, installation)

    async def test_network_that_somebody_left_behind_goes_with_a_later_listing(
        self, engine: Engine, docker_cloud: DockerCloud, installation: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await docker_cloud.create(self.batch(installation))
        (machine,) = await docker_cloud.machines(installation)
        await engine.remove_container(machine.id)
        await docker_cloud.machines(installation)
        assert len(await _networks(engine, installation)) == 1
        monkeypatch.setattr(docker_network, "UNUSED_FOR", docker_network.UNUSED_FOR * 0)
        await docker_cloud.machines(installation)
        assert not await _networks(engine, installation)

    async def test_killed_machine_is_listed_as_stopped_and_says_why(
        self, docker_cloud: DockerCloud, installation: str
    ) -> None:
        (machine,) = await self.active(docker_cloud, self.batch(installation))
        await _run("docker", "kill", machine.id)
        (dead,) = await self.until(
            docker_cloud, installation, lambda all_of: all_of[0].state is CloudMachineState.STOPPED
        )
        assert dead.fault == "its container stopped with exit code 137: it was killed"

    async def test_container_of_somebody_else_is_never_removed(
        self, docker_cloud: DockerCloud, config: DockerConfig, installation: str
    ) -> None:
        foreign = (await _run("docker", "create", config.image)).strip()
        try:
            await docker_cloud.delete([foreign])
            assert (await _run("docker", "inspect", "--format", "{{.Id}}", foreign)).strip() == foreign
        finally:
            await _run("docker", "rm", "--volumes", foreign)

    async def test_volumes_go_with_their_machine(self, docker_cloud: DockerCloud, installation: str) -> None:
        (machine,) = await self.active(docker_cloud, self.batch(installation))
        volumes = (
            await _run(
                "docker", "inspect", "--format", "{{range .Mounts}}{{if .Name}}{{.Name}} {{end}}{{end}}", machine.id
            )
        ).split()
        assert len(volumes) == 2
        await docker_cloud.delete([machine.id])
        with pytest.raises(AssertionError, match=r"(?i)no such volume"):
            await _run("docker", "volume", "inspect", *volumes)

    async def test_listing_asks_for_each_host_key_once(self, docker_cloud: DockerCloud, installation: str) -> None:
        await self.active(docker_cloud, self.batch(installation, 1, 2, 3))
        docker_cloud.calls.clear()
        assert len(await docker_cloud.machines(installation)) == 3
        assert docker_cloud.calls == {"GET /containers": 1, "GET /networks": 1}

    async def test_batch_that_does_not_fit_is_refused_whole(self, other: Other, installation: str) -> None:
        small = other(machines_limit=2)
        used = (await small.offers()).quota.machines_used
        with pytest.raises(QuotaExceeded) as refused:
            await small.create(self.batch(installation, 1, 2, 3))
        assert (refused.value.need, refused.value.free) == (3, max(0, 2 - used))
        assert await small.machines(installation) == []

    async def test_missing_image_names_the_command_that_builds_it(self, other: Other, installation: str) -> None:
        bare = other(image="caravan-node:never-built")
        with pytest.raises(CloudRefused, match="make node-image"):
            await bare.create(self.batch(installation))
        assert await bare.machines(installation) == []

    async def test_machine_that_cannot_start_leaves_nothing_behind(
        self, engine: Engine, other: Other, installation: str
    ) -> None:
        crooked = other(mounts=("/dev/null:/usr/local/sbin:ro",))
        with pytest.raises((CloudRefused, CloudUnavailable), match="not a directory"):
            await crooked.create(self.batch(installation, 1, 2))
        assert await engine.containers(installation) == []
        assert not await _networks(engine, installation)


async def _with_key(batch: MachineBatch, folder: Path) -> MachineBatch:
    """The batch with user-data that lets a new key in and leaves a mark."""
    await _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "key"))
    public = (folder / "key.pub").read_text().strip()
    user_data = f"#cloud-config\nssh_authorized_keys: ['{public}']\nruncmd: [[sh, -c, 'echo ran > /root/ran']]\n"
    return MachineBatch(batch.prefix, batch.numbers, batch.machine_type, batch.owner, user_data)


async def _ssh(folder: Path, machine: Machine, command: str, *, pretending: tuple[str, ...] = ()) -> str:
    """What a command says on a machine whose host keys are known; once its sshd and user-data are there."""
    keys = pretending or machine.host_keys
    (folder / "known").write_text("".join(f"{machine.address} {key}\n" for key in keys))
    options = ("-o", "StrictHostKeyChecking=yes", "-o", f"UserKnownHostsFile={folder / 'known'}", "-o", "BatchMode=yes")
    settled = f"cloud-init status --wait > /dev/null; {command}"

    async def answer() -> str | None:
        try:
            return await _run("ssh", *options, "-i", str(folder / "key"), f"root@{machine.address}", settled)
        except AssertionError as error:
            if "Connection refused" in str(error) or "Connection closed" in str(error):
                return None
            raise

    return str(await eventually(answer, within=30, every=0.2, saying=f"sshd of {machine.name} answers"))


async def _networks(engine: Engine, installation: str) -> list[str]:
    """Ids of an installation's networks."""
    return [
        network["Id"]
        for network in await engine.networks()
        if (network["Labels"] or {}).get("caravan-installation") == installation
    ]


async def _run(*command: str) -> str:
    """What a command prints; AssertionError with what it complains about."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    assert process.returncode == 0, f"{' '.join(command)}: {err.decode()}"
    return out.decode()
