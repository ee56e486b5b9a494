"""The sandbox put together: the only wiring."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from caravan_sandbox.apiservers import ApiServers, PortTaken
from caravan_sandbox.cloud import Cloud
from caravan_sandbox.cloud_api import CloudApi
from caravan_sandbox.console import Console
from caravan_sandbox.faults import Faults
from caravan_sandbox.kube.api import KubeApi, Surroundings
from caravan_sandbox.kubelets import Kubelets
from caravan_sandbox.machines import Machine
from caravan_sandbox.membership import Membership
from caravan_sandbox.scheduler import Scheduler
from caravan_sandbox.settings import Settings
from caravan_sandbox.store import Store
from caravan_shared.plumbing.log import get_logger

log = get_logger(__name__)


class Sandbox:
    """The simulated far end. `running()` is its life; `url` is where its cloud API listens meanwhile."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.url = ""
        self.store = Store(settings.database)
        self.scheduler = Scheduler()
        self.scheduler.after_batch = self.store.flush
        chance = random.Random(settings.seed)  # noqa: S311  # a simulation's dice
        self.faults = Faults(settings, chance)
        self.cloud = Cloud(settings, self.store, self.scheduler, self.faults, chance)
        self.membership = Membership(self.cloud, self.store, self.scheduler)
        self.kubelets = Kubelets(settings, self.cloud, self.membership, self.scheduler)
        around = Surroundings(self.faults, self.membership.token_user, self.membership.has_quorum, self.store.flush)
        self.apiservers = ApiServers(KubeApi(around), self.kubelets.renews)
        self.console = Console(
            self.cloud, self.membership, self.kubelets, self.apiservers, self.scheduler, self.store, self.faults
        )
        self.cloud_api = CloudApi(self.cloud, self.console, self.faults, self.store, settings.token)
        self.cloud.when_running += [self.kubelets.started, self._open_apiserver]
        self.cloud.when_stopped += [self.kubelets.stopped, lambda machine: self.apiservers.close(machine.id)]
        self.cloud.when_gone += [self.membership.gone]
        self._tasks: asyncio.TaskGroup | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Sandbox"]:
        """Take up where the last run ended, serve, and leave everything in the store at the end."""
        self.cloud.resume()
        self.membership.resume()
        await self.apiservers.start()
        runner = web.AppRunner(self.cloud_api.app(), access_log=None)
        try:
            async with asyncio.TaskGroup() as self._tasks:
                self.kubelets.resume()
                await self._open_all_apiservers()
                simulation = self._tasks.create_task(self.scheduler.run())
                await self._listen(runner)
                yield self
                simulation.cancel()
        finally:
            await runner.cleanup()
            await self.apiservers.stop()
            self.store.close()

    async def _listen(self, runner: web.AppRunner) -> None:
        await runner.setup()
        site = web.TCPSite(runner, self.settings.http_host, self.settings.http_port)
        await site.start()
        host, port = runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        log.info("simulated cloud listens", url=self.url, machines=len(self.cloud.machines))

    async def _open_all_apiservers(self) -> None:
        for machine in self.cloud.machines.values():
            await self._serve(machine)

    def _open_apiserver(self, machine: Machine) -> None:
        if self._tasks is not None and machine.control_plane:
            self._tasks.create_task(self._serve(machine))

    async def _serve(self, machine: Machine) -> None:
        cluster = self.membership.of(machine)
        if cluster is None or not (machine.control_plane and machine.running):
            return
        try:
            await self.apiservers.open(machine, cluster)
        except PortTaken as error:
            log.error("simulated kube-apiserver can't listen", machine=machine.id, error=str(error))


def build(settings: Settings) -> Sandbox:
    """A sandbox that is ready to run."""
    return Sandbox(settings)
