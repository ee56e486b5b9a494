"""Start, tend and stop the local stack. Also a library: tests and benches run stacks of their own with it.

    with Stack(folder, ports="auto") as stack:
        ...  # stack.url, stack.token, stack.nats_url
        stack.kill("provisioner")
        stack.restart("provisioner")

Everything that lasts is in the state directory, so a second start finds what the first one left.
"""

import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from caravan_cli.context import CREDENTIALS, write_credentials
from caravan_cli.up import layout as layouts
from caravan_cli.up.accounts import Accounts
from caravan_cli.up.claim import Claim
from caravan_cli.up.docker import Docker
from caravan_cli.up.errors import StackError, StackTaken
from caravan_cli.up.layout import TEAM, Layout, Ports
from caravan_cli.up.nats import config
from caravan_cli.up.parts import API, NATS, PARTS, SANDBOX, SERVICES
from caravan_cli.up.processes import Process, Stray, rotate, tail
from caravan_cli.up.readiness import calls_itself_dead, is_ready
from caravan_cli.up.restarts import Restarts
from caravan_cli.up.wiring import NATS_CONFIG, NATS_STORE, common_env, own_env, program

READY_WITHIN_S = 90.0  # seven Pythons on two busy cores; usually 10
STOP_WITHIN_S = 20.0  # a service lets its handlers finish for 15 s
LOOK_EVERY_S = 0.1
TEND_EVERY_S = 0.5
ASK_EVERY_S = 10.0  # whether services are alive, which they notice after a minute, and which teams there are
TAIL_LINES = 25


class Stack:
    """One local stack in one state directory.

    `ports`: None takes those of earlier starts, else the usual ones; "auto" those of earlier starts, else free ones.
    `network` (127.N.0.0/16, for the sandbox's machines) alike. `env` is given to every process. `docker` adds a
    cloud of that name, with real clusters. `ready_within_s`: seconds that a start may take. `say` hears sentences for a
    person: what is started, what crashed.
    """

    def __init__(
        self,
        state_dir: Path,
        *,
        ports: Ports | Literal["auto"] | None = None,
        network: str | None = None,
        env: Mapping[str, str] | None = None,
        docker: Docker | None = None,
        ready_within_s: float = READY_WITHIN_S,
        say: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self.state_dir = state_dir.absolute()
        self._ports, self._network, self._extra_env, self._say = ports, network, dict(env or {}), say
        self.docker = docker
        self._ready_within_s = ready_within_s
        self._claim = Claim(self.state_dir)
        self._layout: Layout | None = None
        self._accounts: Accounts | None = None
        self._network_claim: socket.socket | None = None
        self._processes: dict[str, Process] = {}
        self._restarts = Restarts(say)
        self._next_look = 0.0
        self._lock = threading.RLock()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # --- what it is ---

    @property
    def layout(self) -> Layout:
        """Its ports, network and secrets; known once started."""
        if self._layout is None:
            raise StackError("This stack has not been started.")
        return self._layout

    @property
    def url(self) -> str:
        """Where its REST API answers."""
        return self.layout.api_url

    @property
    def token(self) -> str:
        """The first admin's token."""
        return self.layout.api_token

    @property
    def nats_url(self) -> str:
        """Where its services connect to NATS."""
        return self.accounts.our_url

    @property
    def accounts(self) -> Accounts:
        """Who may connect to its nats-server; known once started."""
        if self._accounts is None:
            raise StackError("This stack has not been started.")
        return self._accounts

    @property
    def nats_store(self) -> Path:
        """Where nats-server keeps its streams; to be removed only while it is down."""
        return self.state_dir / NATS_STORE

    @property
    def env(self) -> dict[str, str]:
        """What every process of it has in its environment."""
        return common_env(self.layout, self.state_dir, self.nats_url, self._extra_env, self.docker)

    def log(self, part: str) -> Path:
        """The log file of a part."""
        return self.state_dir / "logs" / f"{part}.log"

    def log_tail(self, part: str, lines: int = TAIL_LINES) -> str:
        """The last lines of a part's log."""
        return tail(self.log(part), lines)

    def pid(self, part: str) -> int | None:
        """The process id of a part; None while it does not run."""
        process = self._processes.get(part)
        return process.pid if process and process.ended() is None else None

    # --- what it does ---

    def start(self) -> None:
        """Start everything and wait until it is ready. StackTaken, StackError; then nothing is left running."""
        with self._lock:
            self._claim.take()
            try:
                _stop_all(self._claim.strays(), STOP_WITHIN_S)
                self._settle_layout()
                self._write_files()
                self._launch(NATS)
                self.wait_ready([NATS])
                for part in (SANDBOX, *SERVICES):
                    self._launch(part)
                self.wait_ready(PARTS, self._ready_within_s)
                self.accounts.look()
            except BaseException:
                self.stop()
                raise

    def reclaim(self) -> None:
        """End what a killed supervisor left running. StackTaken while one is at work here."""
        self._claim.take()
        try:
            _stop_all(self._claim.strays(), STOP_WITHIN_S)
        finally:
            self._claim.give_back()

    def stop(self, within_s: float = STOP_WITHIN_S) -> None:
        """End every process: services, then sandbox, then NATS; each has `within_s` seconds before it is killed.

        Does nothing where the stack was never started, or is stopped already.
        """
        with self._lock:
            if not self._claim.held:
                return
            _stop_all(self._processes, within_s)
            self._claim.note({})
            self._processes.clear()
            if self._network_claim is not None:
                self._network_claim.close()
                self._network_claim = None
            self._claim.give_back()

    def kill(self, part: str) -> None:
        """kill -9 a part. It stays down until `restart`, or until the stack is tended."""
        with self._lock:
            self._processes[part].kill()

    def restart(self, part: str, *, wait: bool = True) -> None:
        """Stop a part if it runs, start it, and wait until it is ready."""
        with self._lock:
            self._processes[part].stop(STOP_WITHIN_S)
            self._launch(part)
            if wait:
                self.wait_ready([part])

    def wait_ready(self, parts: Iterable[str], within_s: float = READY_WITHIN_S) -> None:
        """Wait until these parts are ready. StackError where one ends or takes too long, with the end of its log."""
        waiting, deadline = list(parts), time.monotonic() + within_s
        while waiting:
            waiting = [part for part in waiting if not self._ready(part)]
            if waiting and time.monotonic() > deadline:
                raise self._failed(waiting[0], f"is not ready after {within_s:.0f} s")
            if waiting:
                time.sleep(LOOK_EVERY_S)

    def tend(self) -> None:
        """One look: start again what crashed or calls itself dead, with growing pauses; keep logs small.

        Teams that the api has on record by now get accounts on the nats-server.
        """
        with self._lock:
            if time.monotonic() > self._next_look:
                self._next_look = time.monotonic() + ASK_EVERY_S
                self._end_the_dead()
                self._let_teams_in()
            for part, process in list(self._processes.items()):
                rotate(process.log)
                if self._restarts.is_due(part, process.ended(), process.log):
                    self._launch(part)
            self.accounts.have_read(self._processes[NATS])

    @contextmanager
    def tended(self) -> Iterator[None]:
        """Tend the stack from a thread for as long as the block runs."""
        over = threading.Event()

        def tend() -> None:
            while not over.wait(TEND_EVERY_S):
                self.tend()

        thread = threading.Thread(target=tend, name="tend the stack", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    # --- steps ---

    def _settle_layout(self) -> None:
        saved = layouts.load(self.state_dir)
        auto = self._ports == "auto"
        layout = saved or Layout()
        if isinstance(self._ports, Ports):
            layout = replace(layout, ports=self._ports)
        elif auto and (saved is None or saved.ports.taken()):
            layout = replace(layout, ports=Ports.free())
        if taken := layout.ports.taken():
            which = ", ".join(f"{port} ({name})" for name, port in taken.items())
            raise StackTaken(
                f"Another program listens on port {which}. Use --ports auto for free ones, or --port-offset."
            )
        wanted = self._network or (saved.network if saved else None) or (None if auto else layout.network)
        network, self._network_claim = layouts.claim_network(wanted)
        self._layout = replace(layout, network=network)

    def _write_files(self) -> None:
        layouts.save(self.state_dir, self.layout)
        (self.state_dir / "logs").mkdir(exist_ok=True)
        nats_config = self.state_dir / NATS_CONFIG
        nats_config.touch(mode=0o600)
        nats_config.write_text(config(self.layout, self.nats_store))
        self._accounts = Accounts(self.state_dir, self.layout, self._say)
        write_credentials(
            self.state_dir / CREDENTIALS,
            url=self.url,
            token=self.token,
            nats_url=self.accounts.team_url(TEAM) if TEAM in self.accounts.credentials.teams else "",
        )

    def _launch(self, part: str) -> None:
        env = {**self.env, **own_env(part, self.layout, self.docker)}
        self._processes[part] = Process(program(part, self.layout, self.state_dir), self.log(part), env)
        self._claim.note(self._processes)

    def _let_teams_in(self) -> None:
        if is_ready(self._processes[API].program):  # one that hangs would keep us from all else
            self.accounts.look()

    def _end_the_dead(self) -> None:
        for part in SERVICES:
            process = self._processes.get(part)
            if process and process.ended() is None and (why := calls_itself_dead(process.program)):
                self._say(f"{part} calls itself dead: {why}")
                process.stop(STOP_WITHIN_S)

    def _ready(self, part: str) -> bool:
        process = self._processes[part]
        code = process.ended()
        if code is not None:
            raise self._failed(part, f"ended with code {code}")
        return is_ready(process.program)

    def _failed(self, part: str, what: str) -> StackError:
        return StackError(f"{part} {what}; its log is {self.log(part)}", part=part, tail=self.log_tail(part))


def _stop_all(processes: Mapping[str, Process | Stray], within_s: float) -> None:
    """End the services side by side, then what they need: none shall fail for want of NATS while it finishes."""
    for group in (SERVICES, (SANDBOX,), (NATS,)):
        running = [processes[part] for part in reversed(group) if part in processes]
        for process in running:
            process.ask_to_end()
        for process in running:
            process.stop(within_s)
