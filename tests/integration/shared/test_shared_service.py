"""A whole service: start, stop, failure, signals, and the HTTP routes that every one has."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import Coroutine
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from caravan_shared.contracts.events import BootstrapDone
from caravan_shared.plumbing.errors import GiveUp
from caravan_shared.plumbing.reconciler import Turn
from tests.support.eventually import eventually
from tests.support.http import get
from tests.support.nats import NatsServer
from tests.support.ports import accepts, free_port
from tests.support.service import Example, Item, done, note, tell

_ENDS_WITHIN_S = 10.0


async def test_event_wakes_the_cluster_it_is_about(example: Example) -> None:
    woken: list[str] = []

    async def reconcile(turn: Turn) -> None:
        async with turn.transaction() as tx:
            tx.add(Item(name=turn.key))
        woken.append(turn.key)

    async def give_up(turn: Turn, error: GiveUp) -> None: ...

    async def live_keys(session: object) -> list[str]:
        return []

    example.service.reconciles(reconcile, give_up=give_up, live_keys=live_keys)
    event = done(1)
    async with example.running():
        await tell(example.service.bus, event)
        assert await eventually(lambda: woken) == [str(event.cluster_id)]
        assert await example.numbers() == [1]


async def test_service_that_starts_again_goes_on_where_it_was(tmp_path: Path, nats_server: NatsServer) -> None:
    for number in (1, 2):
        example = Example(tmp_path, nats_server.url)
        example.service.hears(BootstrapDone, note)
        async with example.running():
            await tell(example.service.bus, done(number))
            await eventually(partial(_noted, example, number))
            assert await example.numbers() == list(range(1, number + 1))


async def _noted(example: Example, count: int) -> bool:
    return len(await example.numbers()) == count


async def _leaves_no_task(work: Coroutine[Any, Any, None]) -> None:
    """Do the work in an event loop of its own, which no other test's services share."""

    async def alone() -> None:
        await work
        mine = asyncio.current_task()
        await eventually(lambda: asyncio.all_tasks() == {mine}, saying="no task left")

    await asyncio.to_thread(asyncio.run, alone())


async def test_stopped_service_leaves_no_task_and_no_listener(example: Example) -> None:
    async def live() -> None:
        async with example.running():
            port = example.service.http_port
            assert accepts(port)
        assert not accepts(port)

    await _leaves_no_task(live())


async def test_failure_of_work_alongside_ends_the_service_with_that_error(example: Example) -> None:
    fail = asyncio.Event()

    async def work() -> None:
        await fail.wait()
        raise ZeroDivisionError("a defect")

    async def live() -> None:
        async with example.running():
            fail.set()
            await asyncio.sleep(_ENDS_WITHIN_S)

    async def fails() -> None:
        with pytest.raises(ExceptionGroup) as failures:
            await live()
        assert failures.group_contains(ZeroDivisionError, match="a defect")
        assert not accepts(example.service.http_port)
        assert example.service.bus.died.is_set()

    example.service.alongside("work", work)
    await _leaves_no_task(fails())


async def test_work_whose_cancellation_gets_lost_is_cancelled_again(
    example: Example, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("caravan_shared.plumbing.service._TIDIES_UP_WITHIN_S", 0.1)
    begun = asyncio.Event()

    async def work() -> None:
        begun.set()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.Event().wait()

    example.service.alongside("work", work)
    async with asyncio.timeout(_ENDS_WITHIN_S), example.running():
        await begun.wait()


async def test_store_that_cannot_be_opened_ends_the_start_with_that_error(
    tmp_path: Path, nats_server: NatsServer
) -> None:
    (tmp_path / "example.db").write_text("this is no SQLite file, and long enough to be seen as none" * 20)
    example = Example(tmp_path, nats_server.url)
    with pytest.raises(Exception, match="not a database"):
        async with example.service.running():
            pass
    assert not accepts(example.settings.http_port)


async def test_routes_of_every_service(example: Example) -> None:
    async with example.running():
        assert await get(example, "/livez") == (200, "ok\n")
        assert await get(example, "/readyz") == (200, "ok\n")
        await tell(example.service.bus, done(1))
        await eventually(example.numbers)
        status, metrics = await get(example, "/metrics")
        assert status == 200
        for measured in (
            'caravan_deliveries_total{result="handled",subject="bootstrap.done"}',
            'caravan_delivery_seconds_count{subject="bootstrap.done"}',
            "caravan_store_transaction_seconds_count",
            'caravan_build_info{service="example",version="unknown"} 1.0',
        ):
            assert measured in metrics
        assert (await get(example, "/nothing"))[0] == 404


async def test_asyncapi_names_what_is_heard_and_loads_nothing_from_elsewhere(example: Example) -> None:
    async with example.running():
        status, page = await get(example, "/asyncapi")
        _, document = await get(example, "/asyncapi.json")
    assert status == 200
    assert "bootstrap.done" in page
    assert "BootstrapDone" in page
    assert '"asyncapi": "3.0.0"' in document
    assert not re.search(r"<script|<link|<img|<iframe|https?://", page)


async def test_doors_get_what_the_plumbing_does_not_serve(example: Example) -> None:
    async def doors(scope: dict[str, Any], receive: object, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": f"door {scope['path']}".encode()})

    example.service.serves(doors)
    async with example.running():
        assert await get(example, "/v1/clusters") == (200, "door /v1/clusters")
        assert await get(example, "/livez") == (200, "ok\n")


# --- as a process ---


async def process(folder: Path, nats_url: str, port: int, *arguments: str) -> asyncio.subprocess.Process:
    with (folder / "log").open("wb") as log:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.support.service",
            *arguments,
            env=os.environ
            | {"CARAVAN_STATE_DIR": str(folder), "CARAVAN_NATS_URL": nats_url, "CARAVAN_HTTP_PORT": str(port)},
            stdout=log,
            stderr=log,
        )


async def test_sigterm_ends_the_process_with_0(tmp_path: Path, nats_server: NatsServer) -> None:
    running = await process(tmp_path, nats_server.url, free_port())
    await eventually(lambda: "running" in (tmp_path / "log").read_text())
    running.terminate()
    assert await asyncio.wait_for(running.wait(), _ENDS_WITHIN_S) == 0, (tmp_path / "log").read_text()
    assert "Traceback" not in (tmp_path / "log").read_text()


async def test_interrupt_ends_a_process_that_still_waits_for_nats(tmp_path: Path) -> None:
    port = free_port()
    running = await process(tmp_path, f"nats://127.0.0.1:{free_port()}", port)
    await eventually(lambda: accepts(port))
    await asyncio.sleep(0.3)
    running.send_signal(signal.SIGINT)
    assert await asyncio.wait_for(running.wait(), _ENDS_WITHIN_S) == 0, (tmp_path / "log").read_text()


async def test_sigterm_that_a_library_swallows_during_the_start_ends_the_process_all_the_same(
    tmp_path: Path, nats_server: NatsServer
) -> None:
    running = await process(tmp_path, nats_server.url, free_port(), "swallow-the-end")
    assert await asyncio.wait_for(running.wait(), _ENDS_WITHIN_S) == 0, (tmp_path / "log").read_text()


async def test_failure_ends_the_process_with_1_and_says_why(tmp_path: Path, nats_server: NatsServer) -> None:
    running = await process(tmp_path, nats_server.url, free_port(), "fail")
    assert await asyncio.wait_for(running.wait(), 20) == 1
    assert "told to fail" in (tmp_path / "log").read_text()


async def test_killed_process_loses_nothing_it_had_said(tmp_path: Path, nats_server: NatsServer) -> None:
    """SIGKILL right after a commit: the next life publishes what the first one had written."""
    running = await process(tmp_path, nats_server.url, free_port(), "say-and-die")
    assert await asyncio.wait_for(running.wait(), 20) == -signal.SIGKILL
    example = Example(tmp_path, nats_server.url)
    example.service.hears(BootstrapDone, note)
    async with example.running():
        await eventually(lambda: _noted(example, 50))
        assert sorted(await example.numbers()) == list(range(50))
