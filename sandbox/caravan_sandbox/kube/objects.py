"""Objects of a simulated cluster as they are kept: one collection a resource, each object rendered once a change.

Lists of a thousand nodes are asked for every few seconds and rarely differ, so both the object's bytes and the whole
list's are kept until something changes.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from caravan_sandbox.kube.selectors import Matches

Key = tuple[str, str]
"""(namespace, name); namespace "" for cluster-scoped objects."""


def dumps(body: Any) -> bytes:
    """Compact JSON."""
    return json.dumps(body, separators=(",", ":")).encode()


class Stored:
    """One version of one object; never changed, only replaced."""

    __slots__ = ("_json", "_metadata_json", "body")

    def __init__(self, body: Mapping[str, Any], rendered: bytes | None = None) -> None:
        self.body = body
        self._json = rendered
        self._metadata_json: bytes | None = None

    @property
    def json(self) -> bytes:
        """The object as JSON."""
        if self._json is None:
            self._json = dumps(self.body)
        return self._json

    @property
    def metadata_json(self) -> bytes:
        """The object as a PartialObjectMetadata."""
        if self._metadata_json is None:
            self._metadata_json = dumps(
                {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": self.body["metadata"]}
            )
        return self._metadata_json

    @property
    def key(self) -> Key:
        """Where it is kept."""
        metadata = self.body["metadata"]
        return metadata.get("namespace", ""), metadata["name"]


class Collection:
    """All objects of one resource, in order of their keys."""

    def __init__(self) -> None:
        self._objects: dict[Key, Stored] = {}
        self._sorted: list[Key] | None = None
        self._rendered: dict[str, bytes] = {}
        self.version = 0

    def __len__(self) -> int:
        return len(self._objects)

    def get(self, key: Key) -> Stored | None:
        """The object, or None."""
        return self._objects.get(key)

    def put(self, stored: Stored) -> None:
        """Add or replace an object."""
        if stored.key not in self._objects:
            self._sorted = None
        self._objects[stored.key] = stored
        self._changed()

    def remove(self, key: Key) -> Stored | None:
        """Take an object out; None if there was none."""
        removed = self._objects.pop(key, None)
        if removed is not None:
            self._sorted = None
            self._changed()
        return removed

    def bodies(self) -> Iterator[Mapping[str, Any]]:
        """Every object's body, in no order."""
        return (stored.body for stored in self._objects.values())

    def select(self, namespace: str = "", matches: Matches | None = None, after: Key | None = None) -> Iterator[Stored]:
        """Objects in order, of one namespace if named, that match, beyond the key `after`."""
        for key in self._keys():
            if (namespace and key[0] != namespace) or (after is not None and key <= after):
                continue
            stored = self._objects[key]
            if matches is None or matches(stored.body):
                yield stored

    def items_json(self, *, metadata_only: bool = False) -> bytes:
        """All objects as the inside of a JSON array, rendered once a change."""
        form = "metadata" if metadata_only else "whole"
        if form not in self._rendered:
            parts = (s.metadata_json if metadata_only else s.json for s in self.select())
            self._rendered[form] = b",".join(parts)
        return self._rendered[form]

    def _keys(self) -> list[Key]:
        if self._sorted is None:
            self._sorted = sorted(self._objects)
        return self._sorted

    def _changed(self) -> None:
        self.version += 1
        self._rendered.clear()
