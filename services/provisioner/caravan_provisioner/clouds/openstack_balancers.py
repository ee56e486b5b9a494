"""A load balancer of Octavia's before each cluster's control planes, where the configuration asks for it.

It is made with the first control plane, follows their addresses, and goes with the last of them. Its description says
whose it is. Octavia does one thing at a time for each: while it is at it, the next look has to do.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from caravan_provisioner.clouds.base import CloudMachineState, Machine
from caravan_provisioner.clouds.openstack_api import Api
from caravan_provisioner.clouds.openstack_catalogue import Place
from caravan_provisioner.clouds.openstack_config import OpenStackConfig
from caravan_provisioner.clouds.openstack_disuse import Disuse
from caravan_shared.contracts.spec import Role
from caravan_shared.plumbing.errors import CaravanError
from caravan_shared.plumbing.log import get_logger

log = get_logger(__name__)

Json = dict[str, Any]

APISERVER_PORT = 6443
BALANCERS = "/lbaas/loadbalancers"
_LOOK_EVERY = timedelta(seconds=300)  # between looks while nothing is on its way
_IDLE_MS = 3_600_000  # Octavia's own 50 s would cut `kubectl exec` and watches that have nothing to say
_HEALTH = {"type": "TCP", "delay": 5, "timeout": 3, "max_retries": 2, "max_retries_down": 2}


@dataclass(frozen=True, slots=True)
class Balancer:
    """A load balancer of ours."""

    id: str
    cluster: str
    """Id of the cluster that it serves."""
    status: str
    """Octavia's provisioning status."""
    pool: str | None
    address: str
    port: str
    """Neutron's port that has the address."""
    made_at: str

    @property
    def is_ready(self) -> bool:
        """It was made; what is being changed about it now does not keep it from serving."""
        return self.status in ("ACTIVE", "PENDING_UPDATE")

    @property
    def is_on_its_way(self) -> bool:
        """Octavia is at it."""
        return self.status.startswith("PENDING_")


class Balancers:
    """Keeps one installation's."""

    def __init__(self, api: Api, config: OpenStackConfig, installation: str) -> None:
        self._api, self._config = api, config
        self._mark = f"caravan {installation} "
        self._known: dict[str, Balancer] = {}
        self._looked_at: datetime | None = None
        self._members: dict[str, list[str]] = {}
        self._troubles: dict[str, str] = {}
        self._disuse = Disuse()

    async def keep(
        self, machines: Sequence[Machine], fixed: Mapping[str, str | None], place: Place, now: datetime
    ) -> Mapping[str, Balancer] | None:
        """Given all machines there are, make, change and remove balancers; return each cluster's own, by its id.

        None while Octavia has never told which there are: it may be away, and that must hide no machines. `fixed`: the
        machines' addresses inside, by their ids.
        """
        wanted = _members_of(machines, fixed)
        self._troubles = {}
        if self._has_to_look(wanted, now):
            try:
                await self._look(now)
            except CaravanError as error:
                for cluster in wanted:
                    self._note(cluster, error)
                return self._used() if self._looked_at else None
        used = self._used()
        await asyncio.gather(
            *(self._make(cluster, wanted[cluster], place) for cluster in wanted.keys() - used.keys()),
            *(self._follow(used[cluster], wanted[cluster], place) for cluster in wanted.keys() & used.keys()),
        )
        await self._remove_unused({led for machine in machines if (led := led_by(machine))}, used, now)
        return self._used()

    def lacks(self, cluster: str, balancer: Balancer | None) -> str:
        """Why a cluster's balancer, as far as there is one, does not serve yet."""
        if cluster in self._troubles:
            return f"the load balancer before the control planes: {self._troubles[cluster]}"
        if balancer and balancer.status == "ERROR":
            return f"Octavia has the load balancer {balancer.id} in ERROR: fail it over, or delete it to get another"
        return "Octavia was still at the load balancer before the control planes"

    def _has_to_look(self, wanted: Iterable[str], now: datetime) -> bool:
        """Names are not unique: before one is made, another process or a call without a reply may have made it."""
        if self._looked_at is None or now - self._looked_at >= _LOOK_EVERY:
            return True
        used = self._used()
        return any(each.is_on_its_way for each in self._known.values()) or any(each not in used for each in wanted)

    async def _look(self, now: datetime) -> None:
        listed = await self._api.pages("load-balancer", BALANCERS)
        ours = [_balancer(each, self._mark) for each in listed if (each["description"] or "").startswith(self._mark)]
        self._known = {each.id: each for each in ours if each.status != "PENDING_DELETE"}
        self._members = {balancer: known for balancer, known in self._members.items() if balancer in self._known}
        self._looked_at = now

    def _used(self) -> dict[str, Balancer]:
        """By cluster. Should two processes have made one each, both use the older."""
        newest_first = sorted(self._known.values(), key=lambda each: (each.made_at, each.id), reverse=True)
        return {each.cluster: each for each in newest_first}

    async def _make(self, cluster: str, members: list[str], place: Place) -> None:
        body = {"loadbalancer": self._wish(cluster, members, place)}
        try:
            made = (await self._api.post("load-balancer", BALANCERS, body))["loadbalancer"]
        except CaravanError as error:
            self._note(cluster, error)
        else:
            balancer = _balancer(made, self._mark)
            self._known[balancer.id] = balancer
            log.info("load balancer made", cloud=self._api.name, cluster=cluster, address=balancer.address)

    async def _follow(self, balancer: Balancer, members: list[str], place: Place) -> None:
        if balancer.status != "ACTIVE" or balancer.pool is None:
            return
        path = f"/lbaas/pools/{balancer.pool}/members"
        try:
            if balancer.id not in self._members:
                listed = await self._api.pages("load-balancer", path)
                self._members[balancer.id] = sorted(member["address"] for member in listed)
            if self._members[balancer.id] == members:
                return
            await self._api.put("load-balancer", path, {"members": _members(members, place)})
        except CaravanError as error:
            self._members.pop(balancer.id, None)
            self._note(balancer.cluster, error)
        else:
            self._members[balancer.id] = members
            log.info("load balancer follows", cloud=self._api.name, cluster=balancer.cluster, members=members)

    async def _remove_unused(self, clusters: set[str], used: Mapping[str, Balancer], now: datetime) -> None:
        """One that is not its cluster's own serves nobody either."""
        serves = {each.id: each.cluster if used.get(each.cluster) == each else "" for each in self._known.values()}
        for balancer in self._disuse.sure(serves, clusters, now):
            cluster = self._known[balancer].cluster
            try:
                await self._api.delete("load-balancer", f"{BALANCERS}/{balancer}?cascade=true")
            except CaravanError as error:
                self._note(cluster, error)
            else:
                del self._known[balancer]
                log.info("load balancer removed", cloud=self._api.name, cluster=cluster, id=balancer)

    def _note(self, cluster: str, error: CaravanError) -> None:
        """One balancer's trouble hides no machines; the next look tries again."""
        self._troubles[cluster] = error.reason
        log.warning("load balancer in trouble", cloud=self._api.name, cluster=cluster, reason=error.reason)

    def _wish(self, cluster: str, members: list[str], place: Place) -> Json:
        """The whole tree in one call."""
        is_ovn = self._config.load_balancer_provider == "ovn"  # which knows this algorithm only, and no timeouts
        pool = {
            "name": "kube-apiservers",
            "protocol": "TCP",
            "lb_algorithm": "SOURCE_IP_PORT" if is_ovn else "ROUND_ROBIN",
            "healthmonitor": {"name": "kube-apiserver", **_HEALTH},
            "members": _members(members, place),
        }
        listener = {
            "name": "kube-apiserver",
            "protocol": "TCP",
            "protocol_port": APISERVER_PORT,
            "default_pool": pool,
            **({} if is_ovn else {"timeout_client_data": _IDLE_MS, "timeout_member_data": _IDLE_MS}),
        }
        provider = self._config.load_balancer_provider
        return {
            "name": f"caravan-{cluster}",
            "description": f"{self._mark}{cluster}",
            "listeners": [listener],
            **({"vip_subnet_id": place.subnet_id} if place.subnet_id else {"vip_network_id": place.networks[0]}),
            **({"provider": provider} if provider else {}),
        }


def _balancer(listed: Json, mark: str) -> Balancer:
    pools = listed.get("pools") or [{}]
    return Balancer(
        id=listed["id"],
        cluster=listed["description"].removeprefix(mark),
        status=listed["provisioning_status"],
        pool=pools[0].get("id"),
        address=listed["vip_address"],
        port=listed["vip_port_id"],
        made_at=listed["created_at"],
    )


def led_by(machine: Machine) -> str | None:
    """The cluster that the machine is a control plane of."""
    owner = machine.owner
    return str(owner.cluster_id) if owner and owner.role is Role.CONTROL_PLANE else None


def _members_of(machines: Iterable[Machine], fixed: Mapping[str, str | None]) -> dict[str, list[str]]:
    """Addresses of the control planes that run, by cluster."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for machine in machines:
        cluster, address = led_by(machine), fixed[machine.id]
        if cluster and address and machine.state is CloudMachineState.ACTIVE:
            found[cluster].append(address)
    return {cluster: sorted(addresses) for cluster, addresses in found.items()}


def _members(addresses: Iterable[str], place: Place) -> list[Json]:
    subnet = {"subnet_id": place.subnet_id} if place.subnet_id else {}
    return [{"address": address, "protocol_port": APISERVER_PORT, **subnet} for address in addresses]
