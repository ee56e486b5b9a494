"""A service, put together once: store, bus, outbox, reconciler, HTTP routes, start and shutdown.

A service's `app.build` says what it hears, answers and reconciles; everything else is the same for all and is here.
"""

import asyncio
import gc
import resource
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import uvicorn
import uvloop
from sqlalchemy import MetaData
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_shared.contracts.facts import ClusterEvent, Event
from caravan_shared.contracts.requests import AskWellbeing, Reply, Request
from caravan_shared.plumbing import inbox, requests, traces, tracing
from caravan_shared.plumbing.away import once_back
from caravan_shared.plumbing.backlog import Backlog
from caravan_shared.plumbing.bus import Bus, Heard
from caravan_shared.plumbing.clock import Clock, SystemClock
from caravan_shared.plumbing.database import Database
from caravan_shared.plumbing.delivery import Patience
from caravan_shared.plumbing.log import bound, configure_logging, get_logger
from caravan_shared.plumbing.outbox import Relay
from caravan_shared.plumbing.reconciler import LiveKeys, Reconcile, Reconciler, RecordFailure
from caravan_shared.plumbing.rounds import Rounds
from caravan_shared.plumbing.sealed_columns import Resealing
from caravan_shared.plumbing.sealing import KeyRing
from caravan_shared.plumbing.serving import AsgiApp
from caravan_shared.plumbing.settings import ServiceSettings
from caravan_shared.plumbing.strain import Strain
from caravan_shared.plumbing.streams import FACTS, Kept
from caravan_shared.plumbing.vitals import Vitals
from caravan_shared.plumbing.wellbeing import Look, SelfExamination

_PRUNE_EVERY_S = 3600.0
_TIDIES_UP_WITHIN_S = 10.0
_COLLECTED_AFTER = 10_000  # objects more than before; Python's default is 700
_KEEP_ALIVE_S = 75  # longer than clients and balancers keep idle connections: no request meets a closing one

log = get_logger(__name__)

E = TypeVar("E", bound=Event)
Q = TypeVar("Q", bound=Request)
R = TypeVar("R", bound=Reply)

Handler = Callable[[Heard[E], AsyncSession], Awaitable[None]]
RestoredStep = Callable[[AsyncSession], Awaitable[None]]


class Service:
    """One running service. Build it, then `run(service)`, or `async with service.running()` in a test."""

    def __init__(
        self,
        name: str,
        settings: ServiceSettings,
        *,
        metadata: MetaData,
        migrations: Path,
        clock: Clock | None = None,
        patience: Patience = Patience(),
        progress: Kept | None = None,
    ) -> None:
        self.name, self.settings = name, settings
        self.clock = clock or SystemClock()
        assert settings.key_ring is not None
        self.keys = KeyRing.load(settings.key_ring)
        self.db = Database(settings.database_url, metadata, migrations)
        self.rounds = Rounds(self.db, self.clock, settings.instance)
        self.bus = Bus(settings.nats_url, name, settings.nats_replicas, patience, progress)
        self._backlog = Backlog(self.bus, self.clock, settings.stuck_after_s)
        self._relay = Relay(self.db, self.bus, name, self.clock)
        self._self = SelfExamination(name, settings, self.db, self._backlog, self._relay, self.clock)
        requests.answer(self.bus, self.keys, AskWellbeing, self._self.answer, by_every_replica=True)
        self._vitals = Vitals(name, self.db, self.bus, self._backlog)
        self._reconciler: Reconciler | None = None
        self._before_hearing: list[Callable[[], Awaitable[Any]]] = []
        self.restored_steps: list[RestoredStep] = []
        self._alongside: dict[str, Callable[[], Awaitable[None]]] = {
            "outbox": self._relay.run,
            "backlog": self._backlog.run,
            "pruning": self._prune,
            "strain": Strain(self.db).run,
            "sealing": Resealing(self.db, self.keys, settings.reseal_every_s).run,
        }

    # --- wiring, before the start ---

    def hears(
        self, event_type: type[E], handler: Handler[E], *, subject: str | None = None, stream: str = FACTS
    ) -> None:
        """Give every event of a type to `handler` once, within a transaction; then wake the cluster it is about."""

        async def receive(heard: Heard[E]) -> None:
            about = str(heard.event.cluster_id) if isinstance(heard.event, ClusterEvent) else None
            with bound(event=heard.subject, event_id=heard.id, **({"cluster": about} if about else {})):
                async with self.db.transaction() as tx:
                    if await inbox.first_time(tx, heard.id, self.clock.now()):
                        if about:
                            await traces.keep(tx, about)
                        await handler(heard, tx)
            if about:
                self.wake(about)

        self.bus.subscribe(event_type, receive, subject=subject or event_type.subject, stream=stream)

    def answers(
        self, request_type: type[Q], handler: Callable[[Q], Awaitable[Reply]], *, in_person: bool = False
    ) -> None:
        """Answer requests of a type; `in_person`: those that are addressed to this replica."""
        replica = self.settings.instance if in_person else None
        requests.answer(self.bus, self.keys, request_type, handler, replica=replica)

    def looks_after(self, look: Look) -> None:
        """Have `look` say what it finds whenever somebody asks how this service is; it has a moment."""
        self._self.looks.append(look)

    def reconciles(self, reconcile: Reconcile, *, give_up: RecordFailure, live_keys: LiveKeys) -> None:
        """Set what is done when a key is woken."""
        self._reconciler = Reconciler(
            self.db,
            self.clock,
            reconcile,
            give_up,
            live_keys,
            instance=self.settings.instance,
            workers=self.settings.reconcile_workers,
            lease_s=self.settings.lease_s,
            resync_every_s=self.settings.resync_every_s,
        )
        self._alongside["reconciler"] = self._reconciler.run

    def before_hearing(self, step: Callable[[], Awaitable[Any]]) -> None:
        """Take a step at the start, with the store open and the bus not yet: to subscribe to what the store names."""
        self._before_hearing.append(step)

    def when_restored(self, step: RestoredStep) -> None:
        """Take a step in the transaction that brings the store back from a backup: for what an old copy must not do."""
        self.restored_steps.append(step)

    def alongside(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Run `work` for as long as the service runs; an error in it ends the process, but for `StoreAway`.

        After that it is called once more, so it may not rely on being called once.
        """
        self._alongside[name] = work

    def serves(self, doors: AsgiApp) -> None:
        """Serve an ASGI app on all paths that the plumbing does not have."""
        self._vitals.doors = doors

    # --- in use ---

    async def ask(self, request: Request, reply_type: type[R], *, replica: str | None = None) -> R:
        """Ask another service, or one `replica` of it; raises what it raised, or `Retry` if it does not answer."""
        return await requests.ask(self.bus, self.keys, request, reply_type, replica=replica)

    async def ask_all(self, request: Request, reply_type: type[R]) -> list[R]:
        """Ask every replica that listens; raises `Retry` without NATS."""
        return await requests.ask_all(self.bus, self.keys, request, reply_type)

    def wake(self, key: str, after: float = 0.0) -> None:
        """Have the reconciler look at `key` in `after` seconds."""
        if self._reconciler:
            self._reconciler.wake(key, after)

    @property
    def http_port(self) -> int:
        """The port in use, once running."""
        return self._port

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Service"]:
        """Start everything; stop it in the opposite order at the end. An error in any part is raised here."""
        with _listen(self.settings.http_host, self.settings.http_port) as listener:
            self._port: int = listener.getsockname()[1]
            try:
                await self.db.start()
                async with asyncio.TaskGroup() as group, self._running_in(group, listener):
                    yield self
            finally:
                await self.db.stop()

    @asynccontextmanager
    async def _running_in(self, group: asyncio.TaskGroup, listener: socket.socket) -> AsyncIterator[None]:
        http = uvicorn.Config(
            self._vitals, log_config=None, lifespan="off", access_log=False, timeout_keep_alive=_KEEP_ALIVE_S
        )
        server = _Server(http)
        serving = group.create_task(server.serve(sockets=[listener]), name="http")
        tasks: list[asyncio.Task[None]] = []
        try:
            for step in self._before_hearing:
                await step()
            await self.bus.start()
            tasks += [group.create_task(once_back(work, name), name=name) for name, work in self._alongside.items()]
            log.info("running", port=self._port)
            yield
        finally:
            await self.bus.stop()
            server.should_exit = True
            await _end(tasks)
            await asyncio.wait([serving])

    async def _prune(self) -> None:
        while True:
            async with self.db.transaction() as tx:
                await inbox.prune(tx, self.clock.now())
                await traces.prune(tx, self.clock.now())
            await asyncio.sleep(_PRUNE_EVERY_S)


def run(service: Service) -> None:
    """Run until SIGTERM or SIGINT; exit with 1 when a part of the service fails or the bus closes for good.

    On uvloop: all that a service does goes through sockets, and asyncio's own loop takes a fifth more CPU for it.
    """
    settings = service.settings
    _leave_no_dump()
    configure_logging(service.name, settings.log_level, settings.log_format)
    tracing.start(service.name, settings.instance, settings.otlp_endpoint)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_run(service))
    except BaseExceptionGroup as failures:
        log.critical("the service failed", exc_info=failures)
        sys.exit(1)
    finally:
        tracing.stop()


async def _end(tasks: Collection[asyncio.Task[None]]) -> None:
    """Cancel these and wait for their ends; cancel again what goes on all the same.

    A cancellation can get lost: in asyncio.wait_for before Python 3.12, which libraries use, and in a task group one of
    whose tasks fails at that moment.
    """
    for task in tasks:
        if not task.cancelling():  # a second one would cut the first one's tidying short
            task.cancel()
    while tasks:
        _, tasks = await asyncio.wait(tasks, timeout=_TIDIES_UP_WITHIN_S)
        for task in tasks:
            log.warning("goes on though it was cancelled", part=task.get_name())
            task.cancel()


async def _run(service: Service) -> None:
    work = asyncio.current_task()
    assert work is not None
    asked_to_stop = False

    def stop() -> None:
        """Cancel the work wherever it is, also while it still waits for a server; `running` tidies up."""
        nonlocal asked_to_stop
        if not asked_to_stop:
            asked_to_stop = True
            work.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    try:
        async with service.running():
            _spare_the_collector()
            if asked_to_stop:  # and nats-py swallowed the cancellation, as asyncio.wait_for may before Python 3.12
                await asyncio.sleep(0)
                return
            await service.bus.died.wait()
            raise RuntimeError("the NATS connection closed for good")
    except asyncio.CancelledError:
        if not asked_to_stop:
            raise


def _leave_no_dump() -> None:
    """Have no file written of this process's memory when it crashes, nor of what it starts: keys are in there, open."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _spare_the_collector() -> None:
    """Have the garbage collector pass over what is there since the start, and look after more work than by default.

    Else each big answer, which makes some thousands of objects, has it go through all that a process has loaded.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECTED_AFTER)


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.create_server((host, port))
    listener.setblocking(False)
    return listener


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: the service decides when it stops. Cancelled, it tidies up as well."""

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until told to stop."""
        try:
            await super().serve(sockets)
        except asyncio.CancelledError:
            if self.started:
                await self.shutdown(sockets)
            raise

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield
