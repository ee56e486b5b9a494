"""The sockets of the embedded name server: UDP and TCP on one port, answers from a function."""

import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import cast

from caravan_shared.plumbing.log import get_logger

log = get_logger(__name__)

IDLE_S = 10.0
"""A TCP client that is silent longer than this loses its connection (RFC 7766 asks for a few seconds)."""
MAX_CONNECTIONS = 100
"""TCP clients at once; DNS over TCP is the exception, so more is a mistake or an attack."""

Answer = Callable[[bytes, bool], bytes | None]
"""(query, whether it came as a datagram) → answer, None where none is due."""


@asynccontextmanager
async def serving(answer: Answer, host: str, port: int) -> AsyncIterator[None]:
    """Answer queries while the context lasts. Raises OSError if the port is taken."""
    loop = asyncio.get_running_loop()
    udp, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(answer), local_addr=(host, port))
    try:
        async with await asyncio.start_server(_Streams(answer).serve, host, port):
            log.info("name server listening", host=host, port=port)
            yield
    finally:
        udp.close()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        answer = self._answer(data, True)
        if answer is not None and self._transport is not None:
            self._transport.sendto(answer, addr)


class _Streams:
    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        try:
            if self._connections <= MAX_CONNECTIONS:
                await self._converse(reader, writer)
        except (TimeoutError, ConnectionError, asyncio.IncompleteReadError) as gone:
            log.debug("TCP client gone", why=repr(gone))
        finally:
            self._connections -= 1
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            async with asyncio.timeout(IDLE_S):
                (length,) = struct.unpack("!H", await reader.readexactly(2))
                query = await reader.readexactly(length)
            answer = self._answer(query, False)
            if answer is None:
                return
            writer.write(struct.pack("!H", len(answer)) + answer)
            async with asyncio.timeout(IDLE_S):
                await writer.drain()
