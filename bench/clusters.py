"""Clusters of a local stack, asked for over REST by the CLI's own client."""

import time
from types import TracebackType
from typing import Any, Self

from rich.console import Console

from caravan_cli.client import Client
from caravan_cli.context import Target
from caravan_cli.progress import Progress, progress_on
from caravan_cli.up import Stack
from caravan_cli.views import Cluster
from caravan_cli.waiting import until_deleted, until_healthy, until_settled

WITHIN_S = 1800.0  # many real nodes on a busy laptop


class Clusters:
    """Asks as the first admin. Every change waits until nothing is left to do and says how many seconds that took."""

    def __init__(self, stack: Stack) -> None:
        self._api = Client(Target(stack.url, stack.token, None, "the bench's stack"))

    def __enter__(self) -> Self:
        self._api.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._api.__exit__(kind, error, trace)

    def create(self, name: str, spec: dict[str, Any]) -> float:
        """A cluster that is Ready."""
        began = time.monotonic()
        return self._settled(self._api.create(name, spec), began)

    def scale(self, name: str, node_set: str, count: int) -> float:
        """A node set of another size; those that are too many are gone."""
        began = time.monotonic()
        return self._settled(self._api.scale(name, node_set, count), began)

    def upgrade(self, name: str, version: str) -> float:
        """Every node at another version."""
        began = time.monotonic()
        return self._settled(self._api.change(name, {"version": version}, etag=self._api.cluster(name).etag), began)

    def delete(self, name: str) -> float:
        """Nothing of it is left."""
        began = time.monotonic()
        until_deleted(self._api, self._api.delete(name), _silence(), timeout_s=WITHIN_S)
        return time.monotonic() - began

    def until_healthy(self, name: str) -> Cluster:
        """The cluster, once it is Ready and health has seen all its nodes well."""
        return until_healthy(self._api, self.get(name), _silence(), timeout_s=WITHIN_S)

    def get(self, name: str) -> Cluster:
        """The cluster as it is now."""
        return self._api.cluster(name)

    def _settled(self, wanted: Cluster, began: float) -> float:
        until_settled(self._api, wanted, _silence(), timeout_s=WITHIN_S)
        return time.monotonic() - began


def _silence() -> Progress:
    return progress_on(Console(quiet=True))
