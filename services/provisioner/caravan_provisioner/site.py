"""A configured cloud with all that we keep about it while we run."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from caravan_provisioner.clouds.base import Cloud
from caravan_provisioner.clouds.limiter import Limiter
from caravan_provisioner.inventory import Inventory
from caravan_shared.plumbing.clock import Clock


@dataclass(frozen=True, slots=True)
class Site:
    """One cloud, the shared listing of its machines, and the bound on creates."""

    cloud: Cloud
    inventory: Inventory
    creates: Limiter


def make_sites(clouds: Iterable[Cloud], clock: Clock, *, concurrency: int, rate_per_s: float) -> Mapping[str, Site]:
    """A site for every cloud, by the cloud's name."""
    return {
        cloud.name: Site(
            cloud, Inventory(cloud, clock), Limiter(cloud.name, concurrency=concurrency, rate_per_s=rate_per_s)
        )
        for cloud in clouds
    }
