"""An api as a process of its own, which may be killed."""

from pathlib import Path
from typing import Any

import httpx

from tests.support import process
from tests.support.eventually import eventually
from tests.support.http import OfTheKilled
from tests.support.nats import NatsServer
from tests.support.ports import free_port

TOKEN = "of-a-test"  # of a server on loopback that ends with its test
"""The first admin's."""


class ApiProcess:
    """An api that may be killed. `http` speaks as the first admin."""

    def __init__(self, folder: Path, nats: NatsServer, database_url: str, **settings: str) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._settings = {
            "state_dir": folder,
            "nats_url": nats.url,
            "http_port": port,
            "bootstrap_token": TOKEN,
            "database_url": database_url,
            **settings,
        }
        self._log = folder / "api.log"
        self.http = httpx.AsyncClient(
            base_url=f"{self.url}/v1",
            headers={"Authorization": f"Bearer {TOKEN}"},
            timeout=60,
            transport=OfTheKilled(),
        )

    @property
    def pid(self) -> int:
        """Of the process that was started last."""
        return self._process.pid

    async def start(self) -> None:
        """Start, and wait until it answers."""
        self._process = process.start("api", self._log, self._settings)
        await eventually(self._answers, within=120, saying=f"the api answers; {self._log}")

    def kill(self) -> None:
        """As a crash ends it."""
        self._process.kill()

    async def insist(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """One request, sent again while nobody answers, as a careful client would."""
        answers: list[httpx.Response] = []

        async def answered() -> bool:
            try:
                answers.append(await self.http.request(method, path, **arguments))
            except httpx.TransportError:
                return False
            return True

        await eventually(answered, within=300, every=0.1)  # it may be killed again and again meanwhile
        return answers[0]

    async def _answers(self) -> bool:
        try:
            return (await self.http.get("/leases")).status_code == 200
        except httpx.TransportError:
            return False
