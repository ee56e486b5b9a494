"""The canary on the event loop that services run on, which is not the one that tests have."""

import asyncio

import uvloop

from caravan_health.canary import Canary
from tests.support.eventually import eventually


def test_monitor_reaches_its_canary_on_the_loop_that_services_run_on() -> None:
    async def reach() -> None:
        canary, loop = Canary(timeout_s=10.0), asyncio.get_running_loop()
        asking = loop.create_task(canary.run())
        await eventually(lambda: not canary.trouble(loop.time()), saying="the canary answers")
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(reach())
