"""Make the machines of one batch: a container with its seed, then started.

Machines are privileged containers where the engine can grant that. An engine that lacks a capability itself refuses at
the start; then the machine is made anew with all that it can grant, and so are all later ones. What does not start is
removed again.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

from caravan_provisioner.clouds import docker_machine
from caravan_provisioner.clouds.base import CloudMachineState, Machine, MachineBatch
from caravan_provisioner.clouds.docker_config import DockerConfig
from caravan_provisioner.clouds.docker_engine import Engine, EngineRefused
from caravan_provisioner.clouds.docker_machine import Host
from caravan_shared.plumbing.errors import CaravanError
from caravan_shared.plumbing.log import get_logger

log = get_logger(__name__)


@dataclass
class Privileges:
    """Whether the engine is believed to grant privileged containers."""

    full: bool = True


@dataclass(frozen=True, slots=True)
class Made:
    """A container that is not started yet."""

    id: str
    name: str
    privileged: bool


class Making:
    """How the machines of one batch are made."""

    def __init__(
        self,
        engine: Engine,
        config: DockerConfig,
        host: Host,
        batch: MachineBatch,
        network: str,
        privileges: Privileges,
    ) -> None:
        self._engine, self._config, self._host = engine, config, host
        self._batch, self._network, self._privileges = batch, network, privileges

    async def make(self, name: str) -> Made:
        """The container of the machine `name`, with its seed."""
        privileged = self._privileges.full
        unique = f"{name}-{uuid4().hex[:8]}"
        config = docker_machine.container(
            self._batch,
            name,
            image=self._config.image,
            size=self._config.machine_types[self._batch.machine_type],
            host=self._host,
            mounts=self._config.mounts,
            network=self._network,
            privileged=privileged,
        )
        made = Made(await self._engine.create_container(unique, config), name, privileged)
        try:
            seed = docker_machine.seed(unique, name, self._batch.user_data)
            await self._engine.put_files(made.id, docker_machine.SEED_FOLDER, seed)
        except CaravanError:
            await self._engine.remove_container(made.id)
            raise
        return made

    async def start(self, made: Made) -> Machine:
        """The machine, booting."""
        try:
            await self._start_or_remove(made)
        except EngineRefused as error:
            if not (made.privileged and error.for_capabilities):
                raise
            self._do_without(error)
            made = await self.make(made.name)
            await self._start_or_remove(made)
        return Machine(
            id=made.id,
            name=made.name,
            state=CloudMachineState.BUILDING,
            address=None,
            machine_type=self._batch.machine_type,
            owner=self._batch.owner,
            created_at=datetime.now(UTC),
        )

    async def _start_or_remove(self, made: Made) -> None:
        try:
            await self._engine.start(made.id)
        except CaravanError:
            await self._engine.remove_container(made.id)
            raise

    def _do_without(self, error: EngineRefused) -> None:
        if self._privileges.full:
            log.warning(
                "the engine grants no privileged containers; machines get all that it can", reason=error.message
            )
        self._privileges.full = False
