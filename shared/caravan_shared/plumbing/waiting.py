"""Wait for an event, but not for ever, and end at once when cancelled.

`asyncio.wait_for` is not used in services: before Python 3.12 it may return what it waited for instead of the
cancellation that arrived at the same moment, and then a loop that was to end goes on for ever.
"""

import asyncio


async def is_set_within(event: asyncio.Event, seconds: float | None) -> bool:
    """Whether `event` was set within so many seconds; None waits as long as it takes."""
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False
