"""Watches: the changes of one resource as a stream of JSON lines.

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

from aiohttp import web

from caravan_sandbox.kube.cluster import Change, Cluster
from caravan_sandbox.kube.objects import Stored, dumps
from caravan_sandbox.kube.requests import Form, Listing, Target, parse_accept
from caravan_sandbox.kube.statuses import BadRequest, Expired
from caravan_sandbox.kube.tables import table

LONGEST_S = 1800.0  # as kube-apiserver's min-request-timeout: clients reconnect by themselves
INITIAL_EVENTS_END = "k8s.io/initial-events-end"


async def watch(
    request: web.Request, cluster: Cluster, target: Target, listing: Listing, headers: Mapping[str, str]
) -> web.StreamResponse:
    """Stream until the client goes, or its timeout is up."""
    events = _Events(cluster, target, listing, parse_accept(request.headers.get("Accept", "*/*")))
    position, first = events.begin()
    response = web.StreamResponse(headers={**headers, "Content-Type": "application/json"})
    changed = asyncio.Event()
    cluster.watchers.add(changed.set)
    try:
        async with asyncio.timeout(listing.timeout_s or LONGEST_S):
            await response.prepare(request)
            await response.write(b"".join(first))
            while True:
                changed.clear()
                if events.missed(position):
                    await response.write(events.too_old(position))
                    break
                lines = list(events.since(position))
                position = cluster.version
                if lines:
                    await response.write(b"".join(lines))
                await changed.wait()
    except TimeoutError:
        pass  # the end of a watch, not of its connection
    finally:
        cluster.watchers.discard(changed.set)
    await response.write_eof()
    return response


class _Events:
    """Renders one watch's events."""

    def __init__(self, cluster: Cluster, target: Target, listing: Listing, form: Form) -> None:
        self._cluster, self._target, self._listing, self._form = cluster, target, listing, form

    def begin(self) -> tuple[int, list[bytes]]:
        """The version to go on from, and the events that come first. Raises Expired, BadRequest."""
        asked = self._listing.resource_version
        if asked in ("", "0") or self._listing.initial_events:
            return self._cluster.version, [*self._current(), *self._initial_end()]
        if not asked.isdigit():
            raise BadRequest(f"resourceVersion {asked!r} is not one of this server's")
        if self.missed(int(asked)):
            raise self._expired(int(asked))
        return int(asked), []

    def missed(self, version: int) -> bool:
        """Whether changes after the version are no longer in the history."""
        return version < self._oldest()

    def too_old(self, version: int) -> bytes:
        """The event that tells the client to list again."""
        return dumps({"type": "ERROR", "object": self._expired(version).body()}) + b"\n"

    def since(self, version: int) -> Iterator[bytes]:
        """The events after a version, oldest first."""
        newer: list[Change] = []
        for change in reversed(self._cluster.history):
            if change.version <= version:
                break
            newer.append(change)
        for change in reversed(newer):
            if change.resource is self._target.resource and self._concerns(change.stored):
                yield self._line(change.kind, change.stored)

    def _oldest(self) -> int:
        history = self._cluster.history
        return history[0].version - 1 if history else self._cluster.version

    def _expired(self, version: int) -> Expired:
        return Expired(f"too old resource version: {version} ({self._oldest()})")

    def _current(self) -> Iterator[bytes]:
        for stored in self._cluster.collection(self._target.resource).select():
            if self._concerns(stored):
                yield self._line("ADDED", stored)

    def _initial_end(self) -> Iterator[bytes]:
        if not (self._listing.initial_events and self._listing.bookmarks):
            return
        resource = self._target.resource
        metadata = {"resourceVersion": str(self._cluster.version), "annotations": {INITIAL_EVENTS_END: "true"}}
        bookmark: dict[str, Any] = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata}
        yield dumps({"type": "BOOKMARK", "object": bookmark}) + b"\n"

    def _concerns(self, stored: Stored) -> bool:
        namespace, name = stored.key
        target, matches = self._target, self._listing.matches
        if target.resource.namespaced and target.namespace not in ("", namespace):
            return False
        return target.name in ("", name) and (matches is None or matches(stored.body))

    def _line(self, kind: str, stored: Stored) -> bytes:
        if self._form is Form.TABLE:
            metadata = {"resourceVersion": stored.body["metadata"]["resourceVersion"]}
            rows = table(self._target.resource, [stored], self._cluster.now(), metadata, self._listing.include)
            rendered = dumps(rows)
        else:
            rendered = stored.metadata_json if self._form is Form.METADATA else stored.json
        return b'{"type":"' + kind.encode() + b'","object":' + rendered + b"}\n"
