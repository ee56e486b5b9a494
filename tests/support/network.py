"""A network between two programs that a test cuts and mends, by toxiproxy: https://github.com/Shopify/toxiproxy.

Cut, it is silent, as where packets are dropped: connections stay open, new ones are accepted, and nothing comes
through. What was under way is lost, so a connection that was open meanwhile is closed when the network is mended.
"""

import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.support.eventually import eventually
from tests.support.go_tools import TOXIPROXY
from tests.support.ports import accepts, free_port

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Link:
    """The way to one server: who connects to `port` of this machine is connected to it."""

    port: int
    _http: httpx.AsyncClient
    _name: str

    async def cut(self) -> None:
        """Let nothing through, either way."""
        for stream in ("upstream", "downstream"):
            toxic = {"name": stream, "type": "timeout", "stream": stream, "attributes": {"timeout": 0}}
            (await self._http.post(f"/proxies/{self._name}/toxics", json=toxic)).raise_for_status()

    async def mend(self) -> None:
        """Let everything through at once."""
        for toxic in (await self._http.get(f"/proxies/{self._name}/toxics")).raise_for_status().json():
            (await self._http.delete(f"/proxies/{self._name}/toxics/{toxic['name']}")).raise_for_status()

    async def slow_down(self, delay_s: float) -> None:
        """Have all that comes back come so much later."""
        toxic = {"type": "latency", "attributes": {"latency": int(1000 * delay_s)}}
        (await self._http.post(f"/proxies/{self._name}/toxics", json=toxic)).raise_for_status()


@dataclass(frozen=True)
class Network:
    """A running toxiproxy."""

    _http: httpx.AsyncClient

    async def link(self, server_port: int) -> Link:
        """A way to the server that listens there on this machine."""
        port = free_port()
        name, listen, upstream = f"to-{server_port}", f"{HOST}:{port}", f"{HOST}:{server_port}"
        made = {"name": name, "listen": listen, "upstream": upstream}
        (await self._http.post("/proxies", json=made)).raise_for_status()
        return Link(port, self._http, name)


@asynccontextmanager
async def network(log: Path) -> AsyncIterator[Network]:
    """One for as long as the block runs. Skips the test, loudly, where there is no toxiproxy."""
    tool, port = TOXIPROXY.kept(), free_port()
    if tool is None:
        pytest.skip("NO NETWORK IS CUT HERE: there is no toxiproxy-server on PATH or in the cache; `make go-tools`")
    with log.open("ab") as said:
        process = subprocess.Popen([tool, "-host", HOST, "-port", str(port)], stdout=said, stderr=said)
    try:
        await eventually(lambda: accepts(port), saying="toxiproxy answers")
        async with httpx.AsyncClient(base_url=f"http://{HOST}:{port}") as http:
            yield Network(http)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)
