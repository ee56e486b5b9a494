"""A second replica of every service beside a running stack, as an installation on Kubernetes has them.

They share the stack's stores, which have to be PostgreSQL, its nats-server and its key ring; each has a name, a port
and a log of its own.
"""

import time
from typing import Self

from caravan_cli.up import Stack
from caravan_cli.up.parts import SERVICES
from caravan_cli.up.processes import Process, Program
from caravan_cli.up.readiness import is_ready
from caravan_cli.up.wiring import own_env, program
from tests.support.ports import free_port

NAME = "second"
_READY_WITHIN_S = 120.0
_STOPS_WITHIN_S = 30.0
_LOOK_EVERY_S = 0.2


class SecondReplicas:
    """Started and stopped with `with`; each may be stopped, killed and started again meanwhile."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._programs = {service: self._program(service) for service in SERVICES}
        self._processes: dict[str, Process] = {}

    def __enter__(self) -> Self:
        try:
            for service in SERVICES:
                self._launch(service)
            for service in SERVICES:
                self.wait_ready(service)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        for process in self._processes.values():
            process.ask_to_end()
        for process in self._processes.values():
            process.stop(_STOPS_WITHIN_S)

    def kill(self, service: str) -> None:
        """End it as a crash would."""
        self._processes[service].kill()

    def restart(self, service: str) -> None:
        """Stop it if it runs, start it, and wait until it is ready."""
        self._processes[service].stop(_STOPS_WITHIN_S)
        self._launch(service)
        self.wait_ready(service)

    def wait_ready(self, service: str) -> None:
        """Wait until it says so."""
        deadline = time.monotonic() + _READY_WITHIN_S
        while not is_ready(self._programs[service]):
            process = self._processes[service]
            assert process.ended() is None, f"{service} ended; its log is {process.log}"
            assert time.monotonic() < deadline, f"{service} is not ready; its log is {process.log}"
            time.sleep(_LOOK_EVERY_S)

    def _program(self, service: str) -> Program:
        first = program(service, self._stack.layout, self._stack.state_dir)
        return Program(f"{service}-{NAME}", first.runs, free_port(), first.ready_path)

    def _launch(self, service: str) -> None:
        chosen = self._programs[service]
        prefix = f"CARAVAN_{service.upper()}"
        own = {f"{prefix}_INSTANCE": NAME, f"{prefix}_HTTP_PORT": str(chosen.port)}
        if service == "dns":
            own["CARAVAN_DNS_EMBEDDED_PORT"] = str(free_port())
        env = {**self._stack.env, **own_env(service, self._stack.layout), **own}
        self._processes[service] = Process(chosen, self._stack.log(chosen.name), env)
