"""The REST API of a running stack as tests use it, and the far end behind it as only a test may look at it."""

from collections import Counter
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, Self

import httpx

from caravan_cli.up import Stack
from caravan_cli.up.parts import SERVICES
from tests.support.eventually import eventually
from tests.support.http import OfTheKilled

Json = dict[str, Any]

SMALL: Json = {"version": "1.34.2", "cloud": "sandbox", "workers": [{"name": "workers", "count": 2}]}
"""One control plane and two workers."""

LAST_LINES = 12
"""Of each service's log, in a failure's message."""

FAST_SANDBOX = {
    "CARAVAN_SANDBOX_VM_BOOT_S": "0.3",
    "CARAVAN_SANDBOX_INIT_S": "0.2",
    "CARAVAN_SANDBOX_JOIN_S": "0.1",
    "CARAVAN_SANDBOX_DELETE_S": "0.2",
}
"""Latencies that leave a test's time to what it tests."""


class NotNow(AssertionError):
    """The api says that it is not possible right now, as it does for a moment after its start."""


class Api:
    """A client with the admin's token. Every call that fails raises with the API's own words."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._http = httpx.AsyncClient(
            base_url=f"{stack.url}/v1",
            headers={"Authorization": f"Bearer {stack.token}"},
            timeout=30,
            transport=OfTheKilled(),
        )
        self._sandbox = httpx.AsyncClient(
            base_url=stack.layout.sandbox_url,
            headers={"Authorization": f"Bearer {stack.layout.sandbox_token}"},
            timeout=30,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._http.aclose()
        await self._sandbox.aclose()

    async def call(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Json:
        """One call; the answer's JSON, empty where there is none."""
        answer = await self._http.request(method, path, json=body, headers=headers)
        if answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE:
            raise NotNow(answer.text)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return dict(answer.json()) if answer.content else {}

    async def create(self, name: str, spec: Json) -> Json:
        """Ask for a cluster; sent again under the same key if the api dies under it, as a careful client would."""
        return await self.insist(
            "POST", "/clusters", {"name": name, "spec": spec}, {"Idempotency-Key": f"create-{name}"}
        )

    async def insist(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Json:
        """`call`, repeated while nobody answers or the answer is that it is not possible right now."""
        found: list[Json] = []

        async def answered() -> bool:
            try:
                found.append(await self.call(method, path, body, headers))
            except (httpx.TransportError, NotNow):
                return False
            return True

        await eventually(answered, within=60, every=0.2, saying=f"an answer to {method} {path}")
        return found[0]

    async def cluster(self, name: str) -> Json:
        """The cluster as the API shows it."""
        return await self.call("GET", f"/clusters/{name}")

    async def until_ready(self, cluster_id: str, *, nodes: int, healthy: bool = True, within: float = 60) -> Json:
        """Wait until the cluster is Ready with so many joined nodes (and Healthy); fail at once if it fails."""
        last: Json = {}

        async def ready() -> Json | None:
            nonlocal last
            try:
                last = await self.cluster(cluster_id)
            except httpx.TransportError:
                return None
            assert last["phase"] != "Failed", last["failure"]
            joined, verdict = last["nodes"]["joined"], (last["health"] or {}).get("verdict")
            so = last["phase"] == "Ready" and joined == nodes and (verdict == "Healthy" or not healthy)
            return last if so else None

        try:
            return await eventually(ready, within=within, every=0.1, saying=f"{cluster_id} Ready with {nodes} nodes")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{_where_it_stands(last)}\n{self._last_words(cluster_id)}") from error

    async def until_gone(self, cluster_id: str, *, within: float = 60) -> None:
        """Wait until the cluster is Deleted and the far end has none of its machines."""

        async def gone() -> bool:
            try:
                cluster = await self.cluster(cluster_id)
            except httpx.TransportError:
                return False
            return cluster["phase"] == "Deleted" and not await self.machines(cluster_id)

        try:
            await eventually(gone, within=within, every=0.1, saying=f"{cluster_id} gone")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self._last_words(cluster_id)}") from error

    async def machines(self, cluster_id: str) -> list[Json]:
        """The cluster's machines as the sandbox's cloud lists them."""
        answer = await self._sandbox.get("/v1/machines", params={"tag": f"caravan-cluster={cluster_id}", "limit": 1000})
        answer.raise_for_status()
        return list(answer.json()["machines"])

    async def until_exactly(self, cluster_id: str, nodes: int, within: float = 15) -> None:
        """Wait until the cloud has as many machines as the cluster has nodes; never two of one name."""

        async def exactly() -> bool:
            names = Counter(machine["name"] for machine in await self.machines(cluster_id))
            assert max(names.values(), default=1) == 1, f"made twice: {names}"
            return names.total() == nodes

        await eventually(exactly, within=within, every=0.2, saying=f"{nodes} machines of {cluster_id}")

    def _last_words(self, cluster_id: str) -> str:
        """What each service logged about the cluster, and its log's end: a failure elsewhere leaves nothing else."""
        return "\n".join(
            f"--- {part}\n{_about(cluster_id, self._stack.log(part))}\n{self._stack.log_tail(part, LAST_LINES)}"
            for part in SERVICES
        )


def _about(cluster_id: str, log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if cluster_id in line]
    return "\n".join(lines[-LAST_LINES:])


def _where_it_stands(cluster: Json) -> str:
    return f"phase {cluster.get('phase')}, nodes {cluster.get('nodes')}, health {cluster.get('health')}"
