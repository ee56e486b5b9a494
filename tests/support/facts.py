"""Facts as they pass on the bus: wait for one about a cluster, or meddle with all of them."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import nats
from nats.aio.msg import Msg

from caravan_shared.plumbing.envelope import MESSAGE_ID
from caravan_shared.plumbing.streams import FACTS, stream_config


class Watch:
    """Hears every fact; `seen` waits for the first of a subject about a cluster, from now or before."""

    def __init__(self) -> None:
        self._heard: dict[tuple[str, str], asyncio.Event] = {}

    def note(self, message: Msg) -> None:
        """Remember what came."""
        about = (message.headers or {}).get("ce-subject", "")
        self._event(message.subject, about).set()

    async def seen(self, subject: str, cluster_id: str, *, within: float = 60) -> None:
        """Return once the fact has passed; TimeoutError if it does not."""
        async with asyncio.timeout(within):
            await self._event(subject, cluster_id).wait()

    def _event(self, subject: str, cluster_id: str) -> asyncio.Event:
        return self._heard.setdefault((subject, cluster_id), asyncio.Event())


@asynccontextmanager
async def watching(url: str) -> AsyncIterator[Watch]:
    """Watch the facts on a bus."""
    watch = Watch()

    async def note(message: Msg) -> None:
        watch.note(message)

    client = await nats.connect(url, max_reconnect_attempts=-1, reconnect_time_wait=0.1)
    for subject in stream_config(FACTS, 1).subjects or []:
        await client.subscribe(subject, cb=note)
    yield watch
    await client.close()


@asynccontextmanager
async def saying_everything_again(url: str, *, seed: int) -> AsyncIterator[None]:
    """Publish every fact twice more, each after a random while and so out of order.

    One copy keeps its id, as a redelivery would; the other has a new one, so that no inbox can know it: what keeps it
    harmless is only that facts are recorded idempotently and in any order.
    """
    dice = random.Random(seed)
    ours: set[str] = set()
    later: set[asyncio.Task[None]] = set()
    client = await nats.connect(url)
    js = client.jetstream()

    async def again(message: Msg, event_id: str, after: float) -> None:
        await asyncio.sleep(after)
        headers = {**(message.headers or {}), MESSAGE_ID: f"again-{uuid4()}", "ce-id": event_id, "again": "1"}
        await js.publish(message.subject, message.data, headers=headers)

    async def double(message: Msg) -> None:
        event_id = (message.headers or {}).get("ce-id", "")
        if "again" in (message.headers or {}) or event_id in ours:
            return
        ours.add(event_id)
        for copy_id in (event_id, str(uuid4())):
            task = asyncio.create_task(again(message, copy_id, dice.uniform(0, 2)))
            later.add(task)
            task.add_done_callback(later.discard)

    for subject in stream_config(FACTS, 1).subjects or []:
        await client.subscribe(subject, cb=double)
    yield
    await asyncio.gather(*later)
    await client.close()
