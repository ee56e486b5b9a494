"""What a cluster shows of a resource: stored objects, and those computed on the spot (pods, live leases)."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from caravan_sandbox.kube.cluster import Cluster
from caravan_sandbox.kube.furniture import LEASE_NAMESPACE
from caravan_sandbox.kube.objects import Collection, Stored
from caravan_sandbox.kube.pods import pods
from caravan_sandbox.kube.requests import Listing, Target
from caravan_sandbox.kube.resources import LEASES, NODES, PODS
from caravan_sandbox.kube.statuses import NotFound
from caravan_sandbox.kube.times import micro_timestamp

RENEW_EVERY_S = 5  # live leases look renewed at multiples of this; real kubelets renew every 10 s

Renews = Callable[[str, str], bool]
"""(cluster id, node name) → whether the node's kubelet is there."""


class Views:
    """Read access to one cluster."""

    def __init__(self, cluster: Cluster, renews: Renews) -> None:
        self._cluster, self._renews = cluster, renews
        self._leases: tuple[tuple[int, int, int], Collection] | None = None

    def collection(self, target: Target) -> Collection:
        """All objects of the target's resource, as they look now."""
        if target.resource is PODS:
            return _collected(pods(self._cluster))
        if target.resource is LEASES:
            return self._live_leases()
        return self._cluster.collection(target.resource)

    def one(self, target: Target) -> Stored:
        """The target object. Raises NotFound."""
        namespace = target.namespace if target.resource.namespaced else ""
        stored = self.collection(target).get((namespace, target.name))
        if stored is None:
            raise NotFound(
                f'{target.resource.qualified} "{target.name}" not found', name=target.name, kind=target.resource.plural
            )
        return stored

    def page(self, target: Target, listing: Listing) -> tuple[list[Stored], bool]:
        """The objects of one page, and whether there are more."""
        namespace = target.namespace if target.resource.namespaced else ""
        selected = self.collection(target).select(namespace, listing.matches, listing.after)
        if not listing.limit:
            return list(selected), False
        page: list[Stored] = []
        for stored in selected:
            if len(page) == listing.limit:
                return page, True
            page.append(stored)
        return page, False

    def _live_leases(self) -> Collection:
        stored, nodes = self._cluster.collection(LEASES), self._cluster.collection(NODES)
        renewed_at = int(self._cluster.now() // RENEW_EVERY_S * RENEW_EVERY_S)
        state = (stored.version, nodes.version, renewed_at)
        if self._leases is None or self._leases[0] != state:
            self._leases = state, _collected(self._renewed(one, renewed_at) for one in stored.select())
        return self._leases[1]

    def _renewed(self, stored: Stored, renewed_at: float) -> Stored:
        namespace, name = stored.key
        renewed = micro_timestamp(renewed_at)
        if namespace != LEASE_NAMESPACE or renewed <= stored.body["spec"]["renewTime"]:
            return stored
        if not self._renews(self._cluster.identity.id, name):
            return stored
        body: Mapping[str, Any] = {**stored.body, "spec": {**stored.body["spec"], "renewTime": renewed}}
        return Stored(body)


def _collected(objects: Iterable[Stored]) -> Collection:
    collection = Collection()
    for stored in objects:
        collection.put(stored)
    return collection
