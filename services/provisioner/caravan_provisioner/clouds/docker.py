"""The Docker cloud: machines are containers that boot systemd, on a laptop or in CI.

To everyone else they are machines: reached over SSH, configured by cloud-init, one network a cluster. An engine makes
one container at a time, so a batch may be made in part; what could not be started is removed again, and what a dying
process left behind shows up in the listing as a machine that was never started. Host keys come through the engine, so
nobody has to trust whoever answers at an address. A container that stopped by itself is a broken machine; only one
whose cluster is put to sleep and woken is started again, at the address that it had.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

from caravan_provisioner.clouds import docker_machine
from caravan_provisioner.clouds.base import (
    CLUSTER,
    INSTALLATION,
    Capabilities,
    CloudRefused,
    Machine,
    MachineBatch,
    Offers,
    QuotaExceeded,
    UnknownMachineType,
)
from caravan_provisioner.clouds.docker_config import DockerConfig
from caravan_provisioner.clouds.docker_engine import NOT_FOUND, Engine, EngineRefused
from caravan_provisioner.clouds.docker_machine import Host
from caravan_provisioner.clouds.docker_making import Making, Privileges
from caravan_provisioner.clouds.docker_network import Networks
from caravan_shared.contracts.facts import CloudQuota, Connection, OfferedMachineType
from caravan_shared.plumbing.errors import CaravanError
from caravan_shared.plumbing.log import get_logger

log = get_logger(__name__)

A = TypeVar("A")
R = TypeVar("R")

AT_ONCE = 8  # containers that one call makes, looks into or removes side by side; more makes each of them slower
SECONDS_TO_BOOT = 2.0  # from the call to a running sshd


class DockerCloud:
    """Machines on one Docker engine."""

    def __init__(self, name: str, config: DockerConfig) -> None:
        self.name, self.kind = name, str(config.kind)
        self.capabilities = Capabilities(
            user_data=True, pull=config.pull, max_batch=10, simulated=False, connection=Connection.SSH
        )
        self._config = config
        self._engine = Engine(name, config.url, config.timeout_s)
        self._networks = Networks(name, self._engine, config.subnets, config.machines_limit)
        self._admission = asyncio.Lock()
        self._host: Host | None = None
        self._privileges = Privileges()
        self._keys: dict[str, tuple[str, ...]] = {}
        self._faults: dict[str, str] = {}

    @property
    def calls(self) -> Counter[str]:
        """What was sent to the engine, by method and path."""
        return self._engine.calls

    async def offers(self) -> Offers:
        """See `Cloud.offers`."""
        used = len(await self._engine.containers())
        return Offers(
            machine_types=tuple(
                OfferedMachineType(name=name, **size.model_dump()) for name, size in self._config.machine_types.items()
            ),
            quota=CloudQuota(machines_limit=self._config.machines_limit, machines_used=used),
            seconds_to_boot=SECONDS_TO_BOOT,
            virtual_ips=(self._config.subnets,),
        )

    async def create(self, batch: MachineBatch) -> Sequence[Machine]:
        """See `Cloud.create`."""
        if batch.machine_type not in self._config.machine_types:
            raise UnknownMachineType(self.name, batch.machine_type)
        await self._require_image()
        with self._networks.wanted(batch.owner):
            async with self._admission:  # who counts machines must see those of the call before
                await self._check_quota(len(batch.numbers))
                making = await self._making(batch)
                made = await _each(making.make, batch.names())
            started = await _each(making.start, made.done)
        errors = [*made.errors, *started.errors]
        if errors and not started.done:
            await self._remove_networks({_cluster(batch.owner.tags())})
            raise errors[0]
        for error in errors:
            log.warning("a machine of the batch was not made", cloud=self.name, batch=batch.prefix, reason=str(error))
        return started.done

    async def machines(self, installation: str) -> Sequence[Machine]:
        """See `Cloud.machines`."""
        listed = await self._engine.containers(installation)
        await self._networks.sweep(installation, {container["Labels"].get(CLUSTER) for container in listed})
        self._forget_all_but({container["Id"] for container in listed})
        seen = await _each(self._look_at, listed)
        if seen.errors:
            raise seen.errors[0]
        return seen.done

    async def delete(self, ids: Sequence[str]) -> None:
        """See `Cloud.delete`."""
        wanted = set(ids)  # only what is listed as a machine is touched, whatever else an engine calls by these ids
        ours = [container for container in await self._engine.containers() if container["Id"] in wanted]
        removed = await _each(lambda container: self._engine.remove_container(container["Id"]), ours)
        await self._remove_networks({_cluster(container["Labels"]) for container in ours})
        if removed.errors:
            raise removed.errors[0]

    async def stop(self, ids: Sequence[str]) -> None:
        """See `Stoppable.stop`. This call alone waits: an engine answers when a container has shut down."""
        await self._each_of(ids, self._put_to_sleep)

    async def start(self, ids: Sequence[str]) -> None:
        """See `Stoppable.start`."""
        await self._each_of(ids, lambda container: self._engine.start(container["Id"]))

    async def reboot(self, machine_id: str) -> None:
        """See `Rebootable.reboot`. This call waits, too."""
        for container in await self._engine.containers():
            if container["Id"] == machine_id:
                await self._keep_address(container)
                return await self._engine.restart(machine_id)
        raise CloudRefused(self.name, "its container is gone")

    async def close(self) -> None:
        """See `Cloud.close`."""
        await self._engine.close()

    async def _each_of(self, ids: Sequence[str], work: Callable[[Mapping[str, Any]], Awaitable[None]]) -> None:
        wanted = set(ids)  # as for deletion: machines alone
        outcomes = await _each(work, [each for each in await self._engine.containers() if each["Id"] in wanted])
        if outcomes.errors:
            raise outcomes.errors[0]

    async def _put_to_sleep(self, container: Mapping[str, Any]) -> None:
        await self._keep_address(container)
        await self._engine.stop(container["Id"])

    async def _keep_address(self, container: Mapping[str, Any]) -> None:
        """Who dies between losing and keeping it leaves a machine that health finds unreachable."""
        if unkept := docker_machine.unkept_address(container):
            network, address = unkept
            await self._engine.keep_address(network, container["Id"], address)

    async def _require_image(self) -> None:
        try:
            await self._engine.require_image(self._config.image)
        except EngineRefused as error:
            if error.status != NOT_FOUND:
                raise
            reason = f"its engine has no image {self._config.image}; run `make node-image`"
            raise CloudRefused(self.name, reason) from error

    async def _check_quota(self, need: int) -> None:
        free = max(0, self._config.machines_limit - len(await self._engine.containers()))
        if need > free:
            raise QuotaExceeded(project=self.name, resource="machines", need=need, free=free)

    async def _making(self, batch: MachineBatch) -> "Making":
        if self._host is None:
            self._host = Host.of(await self._engine.info())
        network = await self._networks.of(batch.owner, batch.virtual_ip)
        return Making(self._engine, self._config, self._host, batch, network, self._privileges)

    async def _look_at(self, listed: Mapping[str, Any]) -> Machine:
        """Keys and causes of death do not change: each is read once."""
        container = listed["Id"]
        if docker_machine.is_running(listed):
            self._faults.pop(container, None)
            if container not in self._keys:
                await self._read_keys(container)
        elif docker_machine.is_dead(listed) and container not in self._faults:
            self._faults[container] = docker_machine.fault(await self._engine.state(container))
        return docker_machine.machine(
            listed, self._keys.get(container, ()), self._faults.get(container), datetime.now(UTC)
        )

    async def _read_keys(self, container: str) -> None:
        if keys := docker_machine.host_keys(await self._engine.read_file(container, docker_machine.HOST_KEY)):
            self._keys[container] = keys

    async def _remove_networks(self, clusters: set[tuple[str, str]]) -> None:
        """Remove the networks of those clusters that have no machines left."""
        left = {_cluster(container["Labels"]) for container in await self._engine.containers()}
        for installation, cluster in clusters - left:
            await self._networks.remove(installation, cluster)

    def _forget_all_but(self, containers: Collection[str]) -> None:
        for known in (self._keys, self._faults):
            for gone in known.keys() - containers:
                del known[gone]


@dataclass(frozen=True, slots=True)
class Outcomes(Generic[R]):
    """What came of the same work on many things: what was done, in their order, and why the rest was not."""

    done: list[R]
    errors: list[CaravanError]


async def _each(work: Callable[[A], Awaitable[R]], items: Iterable[A]) -> Outcomes[R]:
    """Do the work for all, a few at a time, whatever becomes of the others."""
    at_once = asyncio.Semaphore(AT_ONCE)

    async def bounded(item: A) -> R | CaravanError:
        async with at_once:
            try:
                return await work(item)
            except CaravanError as error:
                return error

    outcomes = await asyncio.gather(*map(bounded, items))
    return Outcomes(
        [outcome for outcome in outcomes if not isinstance(outcome, CaravanError)],
        [outcome for outcome in outcomes if isinstance(outcome, CaravanError)],
    )


def _cluster(labels: Mapping[str, str]) -> tuple[str, str]:
    """The installation and the id of the cluster that these labels name."""
    return labels[INSTALLATION], labels.get(CLUSTER, "")
