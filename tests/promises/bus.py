"""See whether anything still waits to be handled."""

from caravan_shared.plumbing.bus import Bus


async def nothing_waits(bus: Bus, stream: str) -> bool:
    """Everything in the stream is handled or put aside, by everybody who listens."""
    consumers = await bus.js.consumers_info(stream)
    return not any(consumer.num_pending or consumer.num_ack_pending for consumer in consumers)
