"""The sandbox as the process it is: what it says of itself, and what a kill leaves."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import aiohttp
import kubernetes.aio
import pytest
from kubernetes.aio import config as aio_config

from tests.support.authority import Authority
from tests.support.eventually import eventually
from tests.support.ports import free_port
from tests.support.sandbox import INSTANT, CloudClient, Made, sandbox_settings

Start = Callable[..., AbstractAsyncContextManager[asyncio.subprocess.Process]]


@pytest.fixture
def port() -> int:
    """Of the cloud API."""
    return free_port()


@pytest.fixture
def start(tmp_path: Path, port: int, http: aiohttp.ClientSession) -> Start:
    """Start the process on one state, always the same; it is killed at the end of the block if it still runs."""
    network = sandbox_settings(tmp_path).network
    fixed = {"state_dir": tmp_path, "http_port": port, "network": network}

    @asynccontextmanager
    async def started(**changes: object) -> AsyncIterator[asyncio.subprocess.Process]:
        variables = {f"CARAVAN_SANDBOX_{k.upper()}": str(v) for k, v in {**fixed, **INSTANT, **changes}.items()}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "caravan_sandbox"), env=os.environ | variables, stderr=asyncio.subprocess.PIPE
        )
        try:
            await eventually(lambda: _answers(http, port))
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()

    return started


async def _answers(http: aiohttp.ClientSession, port: int) -> bool:
    try:
        async with http.get(f"http://127.0.0.1:{port}/livez") as response:
            return response.status == 200
    except aiohttp.ClientError:
        return False


async def _nodes(made: Made) -> tuple[list[dict[str, object]], int]:
    api = await aio_config.new_client_from_config_dict(made.authority.kubeconfig(made.address))
    async with api:
        listed = (await kubernetes.aio.client.CoreV1Api(api).list_node()).to_dict()
    items = listed["items"]
    return [{"name": n["metadata"]["name"], "uid": n["metadata"]["uid"]} for n in items], int(
        listed["metadata"]["resource_version"]
    )


async def test_it_says_loudly_that_it_simulates(start: Start) -> None:
    async with start() as process:
        process.send_signal(signal.SIGTERM)
        _, errors = await process.communicate()
        assert b"SIMULATED" in errors
        assert process.returncode == 0


async def test_killed_sandbox_goes_on_where_it_stood(start: Start, port: int, http: aiohttp.ClientSession) -> None:
    made = Made(CloudClient(f"http://127.0.0.1:{port}", http), Authority())
    async with start() as process:
        await made.init("cp-1")
        await made.add_workers("w-1", "w-2")
        before, version = await _nodes(made)
        process.kill()
        await process.wait()
    async with start():
        after, later_version = await _nodes(made)
        assert after == before
        assert later_version > version
        await made.add_workers("w-3")


async def test_machine_that_was_booting_at_the_kill_boots(start: Start, port: int, http: aiohttp.ClientSession) -> None:
    cloud = CloudClient(f"http://127.0.0.1:{port}", http)
    async with start(vm_boot_s=60) as process:
        (ordered,) = await cloud.create("a")
        process.kill()
        await process.wait()
    async with start():
        machine = (await cloud.machines())["a"]
        assert (machine["id"], machine["state"]) == (ordered["id"], "building")
