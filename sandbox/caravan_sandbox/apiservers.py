"""The listeners of all simulated kube-apiservers: one TLS socket a control-plane machine, one web application for all.

Which apiserver a request came to is told by the local address of its connection.
"""

import asyncio
import socket

from aiohttp import web

from caravan_sandbox.kube.api import Front, KubeApi
from caravan_sandbox.kube.cluster import Cluster
from caravan_sandbox.kube.views import Renews, Views
from caravan_sandbox.machines import Machine
from caravan_sandbox.pki import server_context
from caravan_shared.plumbing.log import get_logger

log = get_logger(__name__)

BACKLOG = 512
MAX_BODY = 8 * 1024 * 1024  # manifests of a pod network are a few hundred KiB

Where = tuple[str, int]


class PortTaken(Exception):
    """Another process listens where this kube-apiserver has to."""


class ApiServers:
    """Opens and closes kube-apiservers."""

    def __init__(self, kube_api: KubeApi, renews: Renews) -> None:
        self._api, self._renews = kube_api, renews
        self._fronts: dict[Where, Front] = {}
        self._servers: dict[str, tuple[Where, asyncio.Server]] = {}
        self._runner: web.AppRunner | None = None
        self._opening = asyncio.Lock()

    async def start(self) -> None:
        """Get ready to open apiservers."""
        app = web.Application(client_max_size=MAX_BODY)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, handler_cancellation=True)
        await self._runner.setup()

    async def stop(self) -> None:
        """Close them all."""
        for machine_id in list(self._servers):
            self.close(machine_id)
        if self._runner:
            await self._runner.cleanup()

    async def open(self, machine: Machine, cluster: Cluster) -> None:
        """Let the machine's kube-apiserver listen; nothing happens if it does. Raises PortTaken."""
        async with self._opening:
            if machine.id not in self._servers:
                await self._open(machine, cluster)

    async def _open(self, machine: Machine, cluster: Cluster) -> None:
        assert machine.address is not None  # a control plane has both
        assert machine.node is not None
        where = machine.address, int(cluster.identity.endpoint.rpartition(":")[2])
        context = server_context(cluster.identity, machine.node, machine.address)
        listening = _listen(where)
        self._fronts[where] = Front(machine, cluster, Views(cluster, self._renews))
        server = await asyncio.get_running_loop().create_server(
            self._protocols, sock=listening, ssl=context, backlog=BACKLOG
        )
        self._servers[machine.id] = where, server
        if not machine.running:  # it was switched off while the socket opened
            self.close(machine.id)
            return
        log.info(
            "simulated kube-apiserver listens", address=where[0], port=where[1], endpoint=cluster.identity.endpoint
        )

    def close(self, machine_id: str) -> None:
        """Stop listening and drop every connection at once, as a machine does that loses its power."""
        opened = self._servers.pop(machine_id, None)
        if opened is None:
            return
        where, server = opened
        server.close()
        del self._fronts[where]
        for connection in self._protocols.connections:
            transport = connection.transport
            if transport is not None and _local_end(transport) == where:
                transport.abort()

    @property
    def _protocols(self) -> "web.Server":
        assert self._runner is not None  # `start` has made both
        assert self._runner.server is not None
        return self._runner.server

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        transport = request.transport
        front = self._fronts.get(_local_end(transport)) if transport else None
        if front is None:
            raise web.HTTPServiceUnavailable(text="this machine has stopped")
        return await self._api.answer(front, request)


def _local_end(transport: asyncio.BaseTransport) -> Where:
    """The address and port that a connection came to; of one that is already lost, nowhere."""
    name = transport.get_extra_info("sockname")
    return (name[0], name[1]) if name else ("", 0)


def _listen(where: Where) -> socket.socket:
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(where)
        listening.listen(BACKLOG)
        listening.setblocking(False)
    except OSError as error:
        listening.close()
        raise PortTaken(
            f"{where[0]}:{where[1]}: {error.strerror}. Set CARAVAN_SANDBOX_NETWORK to another network"
        ) from error
    return listening
