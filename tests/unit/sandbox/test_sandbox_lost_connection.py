"""A connection that is lost already has no local end; closing an apiserver must not stumble over it."""

import asyncio

from caravan_sandbox.apiservers import _local_end


class Transport(asyncio.BaseTransport):
    """One that knows its socket's name, or no longer does."""

    def __init__(self, name: tuple[str, int] | None) -> None:
        super().__init__({"sockname": name})


def test_lost_connection_came_to_nowhere() -> None:
    assert _local_end(Transport(None)) == ("", 0)


def test_living_connection_tells_where_it_came_to() -> None:
    assert _local_end(Transport(("127.64.0.1", 6443))) == ("127.64.0.1", 6443)
