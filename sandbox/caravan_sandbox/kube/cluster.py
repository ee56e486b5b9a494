"""One simulated cluster: its objects, their versions, and the history that watches follow. In memory; no network.

Whoever changes an object goes through `create`, `replace` or `delete`, so that version, history, watchers and the
store's list of what to save never part. Caller-facing errors are `StatusError`s.
"""

import uuid
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from caravan_sandbox.kube import resources as known
from caravan_sandbox.kube.authorization import Rules, read_rules
from caravan_sandbox.kube.objects import Collection, Key, Stored
from caravan_sandbox.kube.resources import Resource
from caravan_sandbox.kube.secrets import with_string_data_folded
from caravan_sandbox.kube.statuses import AlreadyExists, Conflict, NotFound
from caravan_sandbox.kube.times import timestamp

HISTORY = 8192  # changes that a watch can fall behind before it has to list again
RESTART_GAP = 1000  # added to the version at a restart: no version is ever used for two states

RBAC_RESOURCES = (known.CLUSTER_ROLES, known.CLUSTER_ROLE_BINDINGS, known.ROLES, known.ROLE_BINDINGS)


@dataclass(frozen=True)
class Change:
    """One entry of the history; `kind` is the watch event's type."""

    version: int
    kind: str
    resource: Resource
    stored: Stored


@dataclass
class Identity:
    """What a cluster is, apart from its objects: everything here is plain JSON."""

    id: str
    """CA hash as kubeadm writes it: `sha256:<hex>`."""
    endpoint: str
    version: str
    ca_cert: str
    ca_key: str
    service_cidr: str
    dns_domain: str
    cert_sans: list[str] = field(default_factory=list)
    etcd_members: list[str] = field(default_factory=list)
    """Machine ids of the stacked etcd's members."""
    external_etcd: list[str] = field(default_factory=list)
    """Addresses of the etcd nodes where etcd has nodes of its own."""
    resource_version: int = 0


class Cluster:
    """A cluster's objects. `saved` is called with every change, and with None for an object that is gone."""

    def __init__(
        self,
        identity: Identity,
        now: Callable[[], float],
        saved: Callable[["Cluster", Resource, Key, Stored | None], None],
    ) -> None:
        self.identity = identity
        self.now = now
        self.history: deque[Change] = deque(maxlen=HISTORY)
        self.watchers: set[Callable[[], None]] = set()
        self._collections: defaultdict[str, Collection] = defaultdict(Collection)
        self._saved = saved
        self._rules: tuple[tuple[int, ...], Rules] | None = None

    @property
    def version(self) -> int:
        """The resourceVersion of the last change."""
        return self.identity.resource_version

    def collection(self, resource: Resource) -> Collection:
        """All objects of a resource."""
        return self._collections[resource.qualified]

    def restore(self, resource: Resource, stored: Stored) -> None:
        """Put back an object of an earlier run: no new version, nothing to save."""
        self.collection(resource).put(stored)

    def get(self, resource: Resource, name: str, namespace: str = "") -> Stored:
        """The object. Raises NotFound."""
        stored = self.collection(resource).get((namespace, name))
        if stored is None:
            raise NotFound(
                f'{resource.qualified} "{name}" not found', name=name, kind=resource.plural, group=resource.group
            )
        return stored

    def create(self, resource: Resource, body: Mapping[str, Any]) -> Stored:
        """Add an object; fills in uid, creationTimestamp, resourceVersion. Raises AlreadyExists."""
        body = _as_kept(resource, body)
        metadata = dict(body["metadata"])
        key = (metadata.get("namespace", ""), metadata["name"])
        if self.collection(resource).get(key):
            raise AlreadyExists(f'{resource.qualified} "{key[1]}" already exists', name=key[1], kind=resource.plural)
        metadata |= {"uid": str(uuid.uuid4()), "creationTimestamp": timestamp(self.now())}
        return self._put("ADDED", resource, {**body, "metadata": metadata})

    def replace(self, resource: Resource, body: Mapping[str, Any]) -> Stored:
        """Replace an object. Raises NotFound, and Conflict where the body carries another resourceVersion."""
        body = _as_kept(resource, body)
        metadata = dict(body["metadata"])
        old = self.get(resource, metadata["name"], metadata.get("namespace", ""))
        claimed = metadata.get("resourceVersion")
        if claimed and claimed != old.body["metadata"]["resourceVersion"]:
            raise Conflict(
                f'Operation cannot be fulfilled on {resource.qualified} "{metadata["name"]}": the object has been'
                " modified; please apply your changes to the latest version and try again"
            )
        metadata |= {name: old.body["metadata"][name] for name in ("uid", "creationTimestamp", "resourceVersion")}
        body = {**body, "metadata": metadata}
        return old if body == old.body else self._put("MODIFIED", resource, body)

    def delete(self, resource: Resource, name: str, namespace: str = "") -> Stored:
        """Remove an object and return what it was. Raises NotFound."""
        self.get(resource, name, namespace)
        removed = self.collection(resource).remove((namespace, name))
        assert removed is not None  # `get` has just found it
        self._saved(self, resource, removed.key, None)
        self._tell("DELETED", resource, Stored(self._versioned(removed.body)))
        return removed

    def apply(self, resource: Resource, body: Mapping[str, Any]) -> bool:
        """Create or replace an object; returns whether anything changed."""
        metadata, before = body["metadata"], self.version
        if self.exists(resource, metadata["name"], metadata.get("namespace", "")):
            self.replace(resource, body)
        else:
            self.create(resource, body)
        return self.version != before

    def exists(self, resource: Resource, name: str, namespace: str = "") -> bool:
        """Whether there is such an object."""
        return self.collection(resource).get((namespace, name)) is not None

    @property
    def rules(self) -> Rules:
        """The RBAC rules in force."""
        collections = [self.collection(resource) for resource in RBAC_RESOURCES]
        versions = tuple(collection.version for collection in collections)
        if self._rules is None or self._rules[0] != versions:
            self._rules = versions, read_rules(*(collection.bodies() for collection in collections))
        return self._rules[1]

    def _put(self, kind: str, resource: Resource, body: Mapping[str, Any]) -> Stored:
        stored = Stored(self._versioned(body))
        self.collection(resource).put(stored)
        self._saved(self, resource, stored.key, stored)
        self._tell(kind, resource, stored)
        return stored

    def _versioned(self, body: Mapping[str, Any]) -> dict[str, Any]:
        self.identity.resource_version += 1
        return {**body, "metadata": {**body["metadata"], "resourceVersion": str(self.version)}}

    def _tell(self, kind: str, resource: Resource, stored: Stored) -> None:
        self.history.append(Change(self.version, kind, resource, stored))
        for wake in self.watchers:
            wake()


def _as_kept(resource: Resource, body: Mapping[str, Any]) -> Mapping[str, Any]:
    return with_string_data_folded(body) if resource == known.SECRETS else body
