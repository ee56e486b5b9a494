"""What an installation has beside its servers: server groups and floating IPs.

Each says whose it is, in its name or description, so that it is found again after any crash; nothing else is ever
touched. It is made when a machine needs it and removed with the last that did:

server group   of a cluster's control planes or etcd     removed when none of them is listed any more
floating IP    of a machine or load balancer             removed when that is not listed any more
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from caravan_provisioner.clouds.base import CloudMachineState, Machine, Owner
from caravan_provisioner.clouds.openstack_api import Api
from caravan_provisioner.clouds.openstack_catalogue import Place
from caravan_provisioner.clouds.openstack_config import OpenStackConfig
from caravan_provisioner.clouds.openstack_disuse import Disuse
from caravan_provisioner.clouds.openstack_ports import ports_of
from caravan_shared.contracts.spec import Role
from caravan_shared.plumbing.errors import CaravanError
from caravan_shared.plumbing.log import get_logger

log = get_logger(__name__)

Json = dict[str, Any]
Kind = Literal["server group", "floating IP"]

_LOOK_EVERY = timedelta(seconds=300)  # between looks at what there is; in between we know what we made ourselves
_JUST_NOW = timedelta(seconds=5)  # a look that old will do before a group is made, if none was asked for since
_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Belonging:
    """A thing of ours and whom it serves: a node set as `<cluster>/<set>`, a machine or load balancer by its id."""

    kind: Kind
    id: str
    serves: str
    address: str = ""
    """A floating IP's."""

    @property
    def path(self) -> str:
        """Where its service has it."""
        return f"/os-server-groups/{self.id}" if self.kind == "server group" else f"/floatingips/{self.id}"


class Belongings:
    """Keeps one installation's."""

    def __init__(self, api: Api, config: OpenStackConfig, installation: str) -> None:
        self._api, self._config, self._installation = api, config, installation
        self._known: dict[str, Belonging] = {}
        self._looked_at = self._groups_looked_at = _NEVER
        self._disuse = Disuse()
        self._wanted: Counter[str] = Counter()
        self._making: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    @contextmanager
    def wanted(self, owner: Owner) -> Iterator[None]:
        """While machines of `owner` are being asked for, what serves them stays."""
        self._wanted[_set(owner)] += 1
        try:
            yield
        finally:
            self._wanted[_set(owner)] -= 1

    async def group(self, owner: Owner) -> str | None:
        """The server group for machines of `owner`, made if there is none; None where they need none."""
        if self._config.server_group_policy is None or owner.role is Role.WORKER:
            return None
        async with self._making[_set(owner)]:
            if known := self._group_of(owner):
                return known
            # Another process, or a call whose reply was lost, may have made it: names are not unique.
            if datetime.now(UTC) - self._groups_looked_at >= _JUST_NOW:
                await self._look_at_groups()
            return self._group_of(owner) or await self._make_group(owner)

    async def tidy(
        self, machines: Sequence[Machine], balancers: Mapping[str, str], place: Place, now: datetime
    ) -> None:
        """Given all machines and load balancers there are, give what they lack and remove what served others.

        `balancers`: their ports by their ids.
        """
        if now - self._looked_at >= _LOOK_EVERY:
            await self._look(place)
            self._looked_at = now
        listed = {machine.id for machine in machines}
        serving = listed | balancers.keys() | {_set(machine.owner) for machine in machines if machine.owner}
        await self._remove(self._unused(serving, now))
        if place.floating_network:
            await self._give_floating_ips(machines, balancers, place.floating_network)

    def floating_ips(self) -> dict[str, str]:
        """The addresses that were given, by the machine or load balancer that each serves."""
        return {each.serves: each.address for each in self._known.values() if each.kind == "floating IP"}

    def _group_of(self, owner: Owner) -> str | None:
        """Should two processes have made one each, both use the same."""
        found = [each.id for each in self._known.values() if each.kind == "server group" and each.serves == _set(owner)]
        return min(found, default=None)

    async def _make_group(self, owner: Owner) -> str:
        self._groups_looked_at = _NEVER
        group = {"name": self._mark(_set(owner)), "policy": self._config.server_group_policy}
        made = (await self._api.post("compute", "/os-server-groups", {"server_group": group}))["server_group"]
        self._learn(Belonging("server group", made["id"], _set(owner)))
        log.info("server group made", cloud=self._api.name, group=made["name"])
        return str(made["id"])

    async def _look(self, place: Place) -> None:
        if self._config.server_group_policy:
            await self._look_at_groups()
        if place.floating_network:
            listed = await self._api.pages("network", "/floatingips")
            self._know(
                "floating IP", ((each["id"], each["description"], each["floating_ip_address"]) for each in listed)
            )

    async def _look_at_groups(self) -> None:
        began = datetime.now(UTC)
        listed = await self._api.pages("compute", "/os-server-groups")
        self._know("server group", ((each["id"], each["name"], "") for each in listed))
        self._groups_looked_at = began

    def _know(self, kind: Kind, marked: Iterable[tuple[str, str, str]]) -> None:
        """Replace what we know of a kind by what there is: ids, marks and addresses."""
        self._known = {each.id: each for each in self._known.values() if each.kind != kind}
        for thing, mark, address in marked:
            serves = mark.removeprefix(self._mark(""))
            if serves != mark:
                self._learn(Belonging(kind, thing, serves, address))

    def _learn(self, belonging: Belonging) -> None:
        self._known[belonging.id] = belonging

    def _unused(self, serving: Collection[str], now: datetime) -> list[Belonging]:
        serves = {each.id: each.serves for each in self._known.values()}
        served = {*serving, *(asked_for for asked_for, times in self._wanted.items() if times)}
        return [self._known[each] for each in self._disuse.sure(serves, served, now)]

    async def _remove(self, unused: Iterable[Belonging]) -> None:
        for each in unused:
            service: Literal["compute", "network"] = "compute" if each.kind == "server group" else "network"
            await self._api.delete(service, each.path)
            self._known.pop(each.id, None)
            log.info("removed what served nobody", cloud=self._api.name, kind=each.kind, id=each.id, served=each.serves)

    async def _give_floating_ips(self, machines: Sequence[Machine], balancers: Mapping[str, str], network: str) -> None:
        has = self.floating_ips()
        lacking = [
            machine.id
            for machine in machines
            if machine.owner and machine.state is CloudMachineState.ACTIVE and machine.id not in has
        ]
        ports = sorted(await ports_of(self._api, lacking), key=lambda port: port["id"], reverse=True)
        await self._give_each({port["device_id"]: port["id"] for port in ports}, network)
        await self._give_each({balancer: port for balancer, port in balancers.items() if balancer not in has}, network)

    async def _give_each(self, ports: Mapping[str, str], network: str) -> None:
        await asyncio.gather(*(self._give_floating_ip(serves, port, network) for serves, port in ports.items()))

    async def _give_floating_ip(self, serves: str, port: str, network: str) -> None:
        body = {"floating_network_id": network, "port_id": port, "description": self._mark(serves)}
        try:
            made = (await self._api.post("network", "/floatingips", {"floatingip": body}))["floatingip"]
        except CaravanError as error:
            # One's trouble hides no other; whether it was made shows at the next look.
            self._looked_at = _NEVER
            log.warning("no floating IP", cloud=self._api.name, serves=serves, reason=error.reason)
        else:
            self._learn(Belonging("floating IP", made["id"], serves, made["floating_ip_address"]))

    def _mark(self, serves: str) -> str:
        """The name or description of what we have for someone."""
        return f"caravan {self._installation} {serves}"


def _set(owner: Owner) -> str:
    return f"{owner.cluster_id}/{owner.node_set}"
