"""An api process that a bench asks over HTTP, on a real nats-server and a store that is filled already."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import psutil
from tests.support.api_process import TOKEN, ApiProcess
from tests.support.nats import NatsServer

_IDLE_SHARE = 0.1  # of a CPU: what an api takes that nobody asks for anything


@asynccontextmanager
async def api_on(folder: Path, url: str, at_once: int) -> AsyncIterator[tuple[psutil.Process, aiohttp.ClientSession]]:
    """The process, and the first admin's session of so many connections at most; once its first look is over.

    It looks at all once more only after a day: each minute's looks are no answer's cost either.
    """
    nats = NatsServer(folder / "nats")
    nats.start()
    api = ApiProcess(folder, nats, url, resync_every_s="86400")
    await api.start()
    headers = {"Authorization": f"Bearer {TOKEN}"}
    connector, cookies = aiohttp.TCPConnector(limit=at_once), aiohttp.CookieJar(unsafe=True)  # of an address too
    try:
        async with aiohttp.ClientSession(api.url, headers=headers, connector=connector, cookie_jar=cookies) as session:
            process = psutil.Process(api.pid)
            await _settled(process)
            yield process, session
    finally:
        api.kill()
        await api.http.aclose()
        nats.stop()


def cpu_s(process: psutil.Process) -> float:
    """CPU seconds that it has used."""
    cpu = process.cpu_times()
    return float(cpu.user + cpu.system)


async def busy_share(process: psutil.Process, seconds: float) -> float:
    """What part of a CPU it takes for as long, from now."""
    before = cpu_s(process)
    await asyncio.sleep(seconds)
    return (cpu_s(process) - before) / seconds


async def _settled(process: psutil.Process) -> None:
    """Until its first look at all that is in the store is over: that is a restart's cost, not an answer's."""
    while await busy_share(process, 1) >= _IDLE_SHARE:
        pass
