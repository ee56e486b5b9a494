"""Ask a cluster's kube-apiserver which nodes it lists, and tell it join tokens. The only file that speaks to one.

Nodes come as a Table (https://kubernetes.io/docs/reference/using-api/api-concepts/#receiving-resources-as-tables): name
and kubelet version are all that is needed, and a thousand whole nodes would be megabytes at every look. The endpoint's
addresses are dialled and the server must prove to be its host, so that no resolver has to know the name.
"""

import asyncio
import json
import os
import re
import ssl
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp

from caravan_bootstrapper.errors import ApiserverUnreachable
from caravan_shared.contracts.requests import AskClientCertificate, ClientCertificate
from caravan_shared.plumbing.clock import Clock

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
PAGE = 500  # nodes; kubectl's own
TIMEOUT = aiohttp.ClientTimeout(total=10, connect=2)  # seconds
RENEWED_BEFORE = timedelta(minutes=5)
CLUSTERS_KEPT = 256  # TLS contexts in memory, some 25 KiB each

AskCertificate = Callable[[AskClientCertificate], Awaitable[ClientCertificate]]


@dataclass(frozen=True)
class Endpoint:
    """Where a kube-apiserver is reached, and the name it has to prove."""

    cluster_id: UUID
    host: str
    port: int
    addresses: tuple[str, ...]


class Members:
    """Talks to every cluster under the certificate that dns issues for the bootstrapper.

    Every question raises `ApiserverUnreachable` where it gets no proper answer.
    """

    def __init__(self, ask: AskCertificate, clock: Clock, private_dir: Path) -> None:
        self._ask, self._clock, self._private_dir = ask, clock, private_dir
        self._contexts: dict[UUID, tuple[ssl.SSLContext, datetime]] = {}
        self._session: aiohttp.ClientSession | None = None

    async def run(self) -> None:
        """Keep connections for as long as the service runs."""
        async with aiohttp.ClientSession(timeout=TIMEOUT) as session:
            self._session = session
            await asyncio.Event().wait()

    async def versions(self, endpoint: Endpoint) -> dict[str, str]:
        """Kubelet version by node name, of all nodes that the kube-apiserver lists."""
        found: dict[str, str] = {}
        query = {"limit": str(PAGE), "includeObject": "None"}
        while True:
            table = await self._call(endpoint, "GET", "/api/v1/nodes", query=query, accept=TABLE)
            found |= versions_in(table)
            token = table.get("metadata", {}).get("continue")
            if not token:
                return found
            query["continue"] = token

    async def put_secret(self, endpoint: Endpoint, secret: dict[str, Any]) -> None:
        """Create the Secret, or replace it."""
        path = f"/api/v1/namespaces/{secret['metadata']['namespace']}/secrets"
        try:
            await self._call(endpoint, "POST", path, body=secret)
        except _AlreadyThere:
            await self._call(endpoint, "PUT", f"{path}/{secret['metadata']['name']}", body=secret)

    async def _call(
        self,
        endpoint: Endpoint,
        method: str,
        path: str,
        *,
        query: dict[str, str] | None = None,
        body: dict[str, Any] | None = None,
        accept: str = "application/json",
    ) -> dict[str, Any]:
        if self._session is None or not endpoint.addresses:
            raise ApiserverUnreachable(endpoint.host, "it has no address yet")
        context = await self._context(endpoint.cluster_id)
        problem: Exception | None = None
        for address in endpoint.addresses:
            url = f"https://{f'[{address}]' if ':' in address else address}:{endpoint.port}{path}"
            try:
                async with self._session.request(
                    method,
                    url,
                    params=query,
                    json=body,
                    headers={"Accept": accept, "Host": f"{endpoint.host}:{endpoint.port}"},
                    ssl=context,
                    server_hostname=endpoint.host,
                ) as response:
                    return await self._answer(endpoint, response)
            except (aiohttp.ClientError, TimeoutError, json.JSONDecodeError) as error:
                problem = error
        raise ApiserverUnreachable(endpoint.host, str(problem) or type(problem).__name__)

    async def _answer(self, endpoint: Endpoint, response: aiohttp.ClientResponse) -> dict[str, Any]:
        if response.status == HTTPStatus.CONFLICT:
            raise _AlreadyThere(endpoint.host, "it is there already")
        if response.status == HTTPStatus.UNAUTHORIZED:
            self._contexts.pop(endpoint.cluster_id, None)
        if not response.ok:
            raise ApiserverUnreachable(endpoint.host, f"HTTP {response.status} {response.reason}")
        document: dict[str, Any] = json.loads(await response.read())
        return document

    async def _context(self, cluster_id: UUID) -> ssl.SSLContext:
        kept = self._contexts.get(cluster_id)
        if kept and kept[1] - self._clock.now() > RENEWED_BEFORE:
            return kept[0]
        certificate = await self._ask(AskClientCertificate(cluster_id=cluster_id, purpose="bootstrapper"))
        context = _tls(certificate, self._private_dir)
        while len(self._contexts) >= CLUSTERS_KEPT:
            self._contexts.pop(next(iter(self._contexts)))
        self._contexts[cluster_id] = (context, certificate.not_after)
        return context


def versions_in(document: dict[str, Any]) -> dict[str, str]:
    """Kubelet version by node name, from a Table or, from servers that know no Tables, a NodeList."""
    if document.get("kind") != "Table":
        return {
            node["metadata"]["name"]: _release(node["status"]["nodeInfo"]["kubeletVersion"])
            for node in document.get("items") or ()
        }
    columns = [column["name"] for column in document["columnDefinitions"]]
    name, version = columns.index("Name"), columns.index("Version")
    return {row["cells"][name]: _release(row["cells"][version]) for row in document.get("rows") or ()}


def _release(version: str) -> str:
    """`v1.34.2+build.5` → `1.34.2`; what is no version at all counts as older than every other."""
    match = re.match(r"v?(\d+\.\d+\.\d+)", version)
    return match[1] if match else "0.0.0"


class _AlreadyThere(ApiserverUnreachable):
    """HTTP 409."""


def _tls(certificate: ClientCertificate, private_dir: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=certificate.ca_cert)
    # OpenSSL reads certificate and key from a file only.
    handle, name = tempfile.mkstemp(dir=private_dir)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(certificate.cert + certificate.key)
        context.load_cert_chain(name)
    finally:
        Path(name).unlink()
    return context
