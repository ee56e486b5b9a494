"""A proxy in front of a real OpenStack that loses, delays and refuses what a test tells it to.

Every address in the cloud's answers is rewritten to lead through the proxy, the catalogue's included, so that a client
that is given the proxy's clouds.yaml never leaves it. It also stands in for what fake hypervisors lack: a console on
which cloud-init has printed the machine's SSH host key.
"""

import asyncio
import base64
import hashlib
import json
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import openstack.config
import yaml
from aiohttp import web

_HOP_BY_HOP = {"connection", "content-length", "content-encoding", "transfer-encoding", "host", "keep-alive"}
_ADDRESS = re.compile(rb"(https?)://([A-Za-z0-9.-]+(?::\d+)?)")
_CONSOLE = re.compile(r"/servers/([0-9a-f-]{36})/action$")


@dataclass
class Fault:
    """What happens to the next `times` requests whose method and path (`POST /v2.1/servers`) match."""

    pattern: str
    times: int = 1
    status: int | None = None
    """Answered by the proxy; the cloud hears nothing."""
    headers: dict[str, str] = field(default_factory=dict)
    loses_request: bool = False
    loses_reply: bool = False
    delay_s: float = 0
    """Before the cloud's answer is passed on."""
    then: Callable[[], None] | None = None
    """Done once the cloud has acted; its reply is lost."""


@dataclass
class Proxy:
    """A running proxy."""

    clouds_file: Path
    port: int
    consoles: bool = True
    """Whether machines have consoles with host keys on them."""
    faults: list[Fault] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    """What was asked, as `METHOD /path`."""
    at: list[float] = field(default_factory=list)
    """When, seconds."""

    def fault(self, pattern: str, **what: Any) -> Fault:
        """Arrange a fault."""
        self.faults.append(Fault(pattern, **what))
        return self.faults[-1]

    def count(self, pattern: str) -> int:
        """How many of the requests match."""
        return sum(bool(re.search(pattern, asked)) for asked in self.seen)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One request, with whatever is arranged for it."""
        scheme, host, path = request.match_info["scheme"], request.match_info["host"], request.match_info["path"]
        asked = f"{request.method} {path}"
        self.seen.append(asked)
        self.at.append(time.monotonic())
        fault = self._due(asked)
        if fault and fault.status:
            return web.json_response({"error": {"message": "arranged"}}, status=fault.status, headers=fault.headers)
        if fault and fault.loses_request:
            return _hang_up(request)
        body = await request.read()
        if self.consoles and b"os-getConsoleOutput" in body and (machine := _CONSOLE.search(asked)):
            return web.json_response({"output": console(machine[1])})
        url = f"{scheme}://{host}{path}{'?' + request.query_string if request.query_string else ''}"
        headers = {key: value for key, value in request.headers.items() if key.lower() not in _HOP_BY_HOP}
        async with request.app[HTTP].request(request.method, url, data=body or None, headers=headers) as answer:
            content = await answer.read()
            told = {key: value for key, value in answer.headers.items() if key.lower() not in _HOP_BY_HOP}
        if fault and fault.then:
            fault.then()
            return _hang_up(request)
        if fault and fault.loses_reply:
            return _hang_up(request)
        if fault:
            await asyncio.sleep(fault.delay_s)
        return web.Response(status=answer.status, body=self._led_here(content), headers=told)

    def leading_to(self, url: str) -> str:
        """The address by which the proxy leads there."""
        return self._led_here(url.encode()).decode()

    def _due(self, asked: str) -> Fault | None:
        for fault in self.faults:
            if fault.times and re.search(fault.pattern, asked):
                fault.times -= 1
                return fault
        return None

    def _led_here(self, content: bytes) -> bytes:
        return _ADDRESS.sub(rb"http://127.0.0.1:%d/\1/\2" % self.port, content)


HTTP = web.AppKey("http", aiohttp.ClientSession)


@asynccontextmanager
async def proxying(cloud: str, folder: Path) -> AsyncIterator[Proxy]:
    """A proxy for `cloud` of the user's clouds.yaml; the entry `cloud` of the proxy's own file leads through it."""
    app = web.Application(client_max_size=64 << 20)
    runner = web.AppRunner(app, access_log=None)
    async with aiohttp.ClientSession(auto_decompress=True) as http:
        app[HTTP] = http
        proxy = Proxy(folder / "clouds.yaml", 0)
        app.router.add_route("*", "/{scheme:https?}/{host:[^/]+}{path:.*}", proxy.handle)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        proxy.port = runner.addresses[0][1]
        proxy.clouds_file.write_text(yaml.safe_dump({"clouds": {cloud: _entry(cloud, proxy)}}))
        yield proxy
        await runner.cleanup()


def console(machine: str) -> str:
    """What a machine prints while it boots; each has another key."""
    key = base64.b64encode(b"\x00\x00\x00\x0bssh-ed25519\x00\x00\x00 " + hashlib.sha256(machine.encode()).digest())
    return (
        "[    0.000000] Linux version 6.1\n-----BEGIN SSH HOST KEY KEYS-----\n"
        f"ssh-ed25519 {key.decode()} root@machine\n-----END SSH HOST KEY KEYS-----\nlogin: "
    )


def _entry(cloud: str, proxy: Proxy) -> dict[str, Any]:
    region = openstack.config.OpenStackConfig().get_one(cloud=cloud)
    auth = dict(region.config["auth"])
    auth["auth_url"] = proxy.leading_to(str(auth["auth_url"]))
    entry = {"auth": auth, "region_name": region.region_name, "identity_api_version": "3"}
    return json.loads(json.dumps(entry | {"auth_type": region.config.get("auth_type", "password")}))


def _hang_up(request: web.Request) -> web.Response:
    if request.transport:  # gone already where the client was killed meanwhile
        request.transport.abort()
    return web.Response()
