"""A network of its own for every cluster: made with its first machine, removed after its last.

Nobody can be relied on to remove it in time (whoever deletes the last machine may die before), so every listing looks
for networks without machines as well; young ones are left alone, because their first machine may be on its way.

Nobody knows beforehand which subnet a cluster will get, unless it is to have a virtual IP: then it is the one that the
address lies in, and the engine gives that address to no machine.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network, ip_network
from itertools import islice
from typing import Any

from caravan_provisioner.clouds.base import (
    CLUSTER,
    INSTALLATION,
    Owner,
    QuotaExceeded,
    UnusableVirtualIp,
)
from caravan_provisioner.clouds.docker_engine import CONFLICT, Engine, EngineRefused
from caravan_shared.contracts.addresses import IPAddress
from caravan_shared.plumbing.log import get_logger

log = get_logger(__name__)

UNUSED_FOR = timedelta(minutes=1)  # far longer than from a network's making to its first container's
_SMALLEST = 24  # prefix of the smallest subnet
_NOT_MACHINES = 3  # addresses of a subnet: its own, the gateway's, the broadcast's
_EXAMPLE = -6  # the address of a free subnet that is proposed: .250 of the smallest, far from those given first
_TRIES = 20  # subnets asked for before giving up; the engine knows of overlaps that its list does not show


def prefix_for(machines: int) -> int:
    """The prefix length of the smallest subnet for so many machines."""
    return min(_SMALLEST, 32 - (machines + _NOT_MACHINES - 1).bit_length())


def free_subnets(pool: IPv4Network, prefix: int, taken: Iterable[str]) -> Iterator[IPv4Network]:
    """The pool's subnets that overlap none of those taken, lowest first."""
    used = [network for network in map(ip_network, taken) if isinstance(network, IPv4Network)]
    return (subnet for subnet in pool.subnets(new_prefix=prefix) if not any(subnet.overlaps(one) for one in used))


def subnet_around(address: IPAddress, pool: IPv4Network, free: Iterable[IPv4Network]) -> IPv4Network:
    """The free subnet of the pool that a virtual IP lies in. Raises UnusableVirtualIp where it cannot lie there."""
    subnets = list(free)
    remedy = f"another address, such as {subnets[-1][_EXAMPLE]}" if subnets else f"none: {pool} is used up"
    found = next((subnet for subnet in subnets if address in subnet), None)
    if found is None:
        problem = "its network is taken" if address in pool else f"it is not of {pool}, which machines come from"
        raise UnusableVirtualIp(address, problem, remedy)
    if address in (found[0], found[1], found[-1]):
        raise UnusableVirtualIp(address, f"the engine needs it for {found} itself", remedy)
    return found


def unused(
    networks: Iterable[Mapping[str, Any]], installation: str, clusters: Collection[str], now: datetime
) -> list[str]:
    """Ids of the installation's networks, old enough, whose clusters are not among those with machines."""
    return [
        network["Id"]
        for network in networks
        if (network["Labels"] or {}).get(INSTALLATION) == installation
        and network["Labels"].get(CLUSTER) not in clusters
        and now > _made_at(network) + UNUSED_FOR
    ]


class Networks:
    """The clusters' networks on one engine."""

    def __init__(self, cloud: str, engine: Engine, pool: IPv4Network, machines: int) -> None:
        self._cloud, self._engine, self._pool, self._prefix = cloud, engine, pool, prefix_for(machines)
        self._wanted: Counter[str] = Counter()

    @contextmanager
    def wanted(self, owner: Owner) -> Iterator[None]:
        """Meanwhile the cluster's network is not removed by this process, though it has no machines yet."""
        cluster = str(owner.cluster_id)
        self._wanted[cluster] += 1
        try:
            yield
        finally:
            self._wanted -= Counter((cluster,))

    async def of(self, owner: Owner, virtual_ip: IPAddress | None = None) -> str:
        """The id of the cluster's network, made if need be.

        Raises `QuotaExceeded` where no subnet is left, `UnusableVirtualIp` where that of the virtual IP cannot be had.
        """
        networks = await self._engine.networks()
        if found := _find(networks, owner):
            return found
        free = free_subnets(self._pool, self._prefix, _subnets(networks))
        if virtual_ip:
            free = iter((subnet_around(virtual_ip, self._pool, free),))
        for subnet in islice(free, _TRIES):
            try:
                return await self._engine.create_network(_config(owner, subnet, virtual_ip))
            except EngineRefused as error:
                if error.status == CONFLICT and (found := _find(await self._engine.networks(), owner)):
                    return found
                if "overlap" not in error.message:
                    raise
                if virtual_ip:
                    problem = f"the engine's host uses {subnet}"
                    raise UnusableVirtualIp(virtual_ip, problem, "an address of another network") from error
        raise QuotaExceeded(project=self._cloud, resource=f"networks in {self._pool}", need=1, free=0)

    async def remove(self, installation: str, cluster: str) -> None:
        """Remove the network of a cluster that has no machines any more, unless it is to have some again."""
        if cluster in self._wanted:
            return
        for network in await self._engine.networks():
            labels = network["Labels"] or {}
            if (labels.get(INSTALLATION), labels.get(CLUSTER)) == (installation, cluster):
                await self._remove(network["Id"])

    async def sweep(self, installation: str, clusters: Collection[str]) -> None:
        """Remove what was left behind: networks of other clusters than those with machines."""
        kept = {*clusters, *self._wanted}
        for network in unused(await self._engine.networks(), installation, kept, datetime.now(UTC)):
            await self._remove(network)

    async def _remove(self, network: str) -> None:
        try:
            await self._engine.remove_network(network)
        except EngineRefused as error:  # a container came, or has not left yet: a later listing tries again
            log.info("network stays for now", network=network, reason=error.message)


def _config(owner: Owner, subnet: IPv4Network, virtual_ip: IPAddress | None) -> dict[str, Any]:
    reserved = {"AuxiliaryAddresses": {"virtual-ip": str(virtual_ip)}} if virtual_ip else {}
    return {
        "Name": f"caravan-{owner.cluster_id}",
        "CheckDuplicate": True,
        "Driver": "bridge",
        "IPAM": {"Driver": "default", "Config": [{"Subnet": str(subnet), **reserved}]},
        "Labels": {INSTALLATION: owner.installation, CLUSTER: str(owner.cluster_id)},
    }


def _find(networks: Iterable[Mapping[str, Any]], owner: Owner) -> str | None:
    wanted = {INSTALLATION: owner.installation, CLUSTER: str(owner.cluster_id)}
    return next(
        (str(network["Id"]) for network in networks if wanted.items() <= (network["Labels"] or {}).items()), None
    )


def _subnets(networks: Iterable[Mapping[str, Any]]) -> list[str]:
    return [
        config["Subnet"] for network in networks for config in network["IPAM"]["Config"] or () if "Subnet" in config
    ]


def _made_at(network: Mapping[str, Any]) -> datetime:
    """The engine tells nanoseconds, which Python can't read."""
    return datetime.fromisoformat(re.sub(r"\.\d+", "", network["Created"]))
