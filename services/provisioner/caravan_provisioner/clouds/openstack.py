"""The OpenStack cloud: machines are Nova's servers, virtual ones and, by a baremetal flavor, physical ones.

Nova makes a batch in one call and its ports and volumes with it, so most of a cluster costs a call a batch and a page a
look. What Nova has no name for (who owns what) stands in tags, metadata, names and descriptions; no state is kept that
a listing could not rebuild. Host keys come from the consoles.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from caravan_provisioner.clouds.base import (
    Capabilities,
    CloudMachineState,
    CloudRefused,
    Machine,
    MachineBatch,
    Offers,
)
from caravan_provisioner.clouds.openstack_api import Api, InTheWay, NotFound, ServiceName
from caravan_provisioner.clouds.openstack_balancers import Balancers, led_by
from caravan_provisioner.clouds.openstack_belongings import Belongings
from caravan_provisioner.clouds.openstack_catalogue import Catalogue, Place
from caravan_provisioner.clouds.openstack_check import Check
from caravan_provisioner.clouds.openstack_config import OpenStackConfig
from caravan_provisioner.clouds.openstack_faults import Faults
from caravan_provisioner.clouds.openstack_keys import HostKeys
from caravan_provisioner.clouds.openstack_leftovers import Leftovers
from caravan_provisioner.clouds.openstack_quota import Absolute, granted
from caravan_provisioner.clouds.openstack_server import (
    Boot,
    address,
    leaving_since,
    machine,
    requests_for,
    tag,
    wrapped,
)
from caravan_provisioner.clouds.openstack_zones import Zones
from caravan_shared.contracts.facts import Connection, Finding
from caravan_shared.plumbing.errors import CaravanError
from caravan_shared.plumbing.log import get_logger

log = get_logger(__name__)

Json = dict[str, Any]

_STUCK = timedelta(seconds=300)  # after which a deletion is asked for again; a busy Nova takes minutes for many


class OpenStackCloud:
    """Machines of one project in one region."""

    def __init__(self, name: str, config: OpenStackConfig) -> None:
        self.name, self.kind = name, str(config.kind)
        self.capabilities = Capabilities(
            user_data=True,
            pull=config.pull,
            max_batch=config.max_batch,
            zones=max(1, len(config.availability_zones)),
            simulated=False,
            connection=Connection.SSH,
        )
        self._config = config
        self._api = Api(name, config)
        self._catalogue = Catalogue(self._api, config)
        self._belongings: dict[str, Belongings] = {}
        self._balancers: dict[str, Balancers] = {}
        self._leftovers: defaultdict[str, Leftovers] = defaultdict(lambda: Leftovers(self._api, self._config))
        self._leaving: dict[str, datetime] = {}
        self._zones = Zones(config.availability_zones)
        self._faults, self._keys = Faults(self._api), HostKeys(self._api)

    @property
    def calls(self) -> Counter[str]:
        """What was sent, by method and path without ids."""
        return self._api.calls

    async def offers(self) -> Offers:
        """See `Cloud.offers`."""
        volume_gib = self._config.boot_volume_gib
        volumes = await self._limits("block-storage") if volume_gib else None
        return Offers(
            machine_types=await self._catalogue.machine_types(),
            quota=granted(await self._limits("compute"), volumes, volume_gib),
            seconds_to_boot=self._config.seconds_to_boot,
        )

    async def create(self, batch: MachineBatch) -> Sequence[Machine]:
        """See `Cloud.create`."""
        place, stock = await self._catalogue.place(), await self._catalogue.stock()
        flavor = await self._catalogue.flavor(batch.machine_type)
        belongings = self._belongings_of(batch.owner.installation)
        with belongings.wanted(batch.owner):
            group = await belongings.group(batch.owner)
            boot = Boot(flavor, stock.image, place.networks)
            wishes = requests_for(batch, boot, self._config, self._zones)
            try:
                return await self._make(batch, wishes, group)
            except CloudRefused:
                self._catalogue.forget()  # what was looked up may be there no more
                raise

    async def machines(self, installation: str) -> Sequence[Machine]:
        """See `Cloud.machines`. Also gives machines what they need beside themselves and removes what served others."""
        place, began = await self._catalogue.place(), datetime.now(UTC)
        listed = await self._api.pages("compute", "/servers/detail", {"tags": tag(installation)})
        machines = [machine(each, place.subnet, floating=place.floating_network is not None) for each in listed]
        self._zones.count(machines, listed)
        now = datetime.now(UTC)
        self._leaving = leaving_since(listed, self._leaving, began)
        await self._leftovers[installation].remove(listed, place)
        return await self._faults.of(await self._tidy(installation, machines, listed, place, now))

    async def complete(self, machines: Sequence[Machine]) -> Sequence[Machine]:
        """See `Inquirer.complete`: host keys."""
        return await self._keys.of(machines, datetime.now(UTC))

    async def delete(self, ids: Sequence[str]) -> None:
        """See `Cloud.delete`. What Nova is at deleting is not asked for again, unless it seems stuck."""
        long_ago = datetime.now(UTC) - _STUCK
        wanted = [server for server in ids if self._leaving.get(server, long_ago) <= long_ago]
        outcomes = await asyncio.gather(
            *(self._api.delete("compute", f"/servers/{server}") for server in wanted), return_exceptions=True
        )
        now = datetime.now(UTC)
        self._leaving |= {server: now for server, outcome in zip(wanted, outcomes, strict=True) if outcome is None}
        errors = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        if errors:
            raise errors[0]

    async def stop(self, ids: Sequence[str]) -> None:
        """See `Stoppable.stop`. Nova has no call for many: one each, at the cloud's pace."""
        await self._have_all(ids, "os-stop")

    async def start(self, ids: Sequence[str]) -> None:
        """See `Stoppable.start`."""
        await self._have_all(ids, "os-start")

    async def reboot(self, machine_id: str) -> None:
        """See `Rebootable.reboot`. Nova starts a server anew that it has stopped meanwhile."""
        await self._api.post("compute", f"/servers/{machine_id}/action", {"reboot": {"type": "HARD"}})

    async def check(self) -> Sequence[Finding]:
        """See `Checkable.check`."""
        return await Check(self._api, self._catalogue, self._config).run()

    async def close(self) -> None:
        """See `Cloud.close`."""
        await self._api.close()

    async def _limits(self, service: ServiceName) -> Absolute:
        absolute: Absolute = (await self._api.get(service, "/limits"))["limits"]["absolute"]
        return absolute

    async def _have_all(self, ids: Sequence[str], action: str) -> None:
        """Ask for all whatever becomes of some. Nova refuses as a conflict what is so already or on its way."""
        asked = (self._api.post("compute", f"/servers/{server}/action", {action: None}) for server in ids)
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        errors = [each for each in outcomes if isinstance(each, BaseException)]
        for error in errors:
            if not isinstance(error, NotFound | InTheWay):
                raise error

    async def _tidy(
        self,
        installation: str,
        machines: Sequence[Machine],
        listed: Sequence[Json],
        place: Place,
        now: datetime,
    ) -> Sequence[Machine]:
        """Keep what the installation has beside machines; say where control planes behind balancers are reached."""
        belongings = self._belongings_of(installation)
        if not self._config.load_balancer:
            await belongings.tidy(machines, {}, place, now)
            return machines
        balancers = self._balancers_of(installation)
        fixed = {each["id"]: address(each, place.subnet, floating=False) for each in listed}
        found = await balancers.keep(machines, fixed, place, now)
        kept = found or {}
        if found is not None:  # else nobody knows whom their floating IPs serve
            await belongings.tidy(machines, {each.id: each.port for each in kept.values()}, place, now)
        ready = [each for each in kept.values() if each.is_ready]
        outside = belongings.floating_ips() if place.floating_network else {each.id: each.address for each in ready}
        reached = {each.cluster: outside[each.id] for each in ready if each.id in outside}

        def seen(machine: Machine) -> Machine:
            led = led_by(machine)
            if led is None:
                return machine
            if led in reached:
                return replace(machine, virtual_ip=reached[led])
            return _waiting(machine, balancers.lacks(led, kept.get(led)))

        return [seen(machine) for machine in machines]

    def _belongings_of(self, installation: str) -> Belongings:
        return self._belongings.setdefault(installation, Belongings(self._api, self._config, installation))

    def _balancers_of(self, installation: str) -> Balancers:
        return self._balancers.setdefault(installation, Balancers(self._api, self._config, installation))

    async def _make(self, batch: MachineBatch, wishes: Sequence[Json], group: str | None) -> list[Machine]:
        """Send the requests side by side. A part that was made is an answer: whoever looks asks again for the rest."""
        outcomes = await asyncio.gather(*(self._make_one(wish, group) for wish in wishes), return_exceptions=True)
        ids = [outcome for outcome in outcomes if isinstance(outcome, str)]
        errors = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        for error in errors:
            if not ids or not isinstance(error, CaravanError):
                raise error
            log.warning("a machine of the batch was not made", cloud=self.name, batch=batch.prefix, reason=error.reason)
        named = zip(batch.names(), outcomes, strict=False)  # a bulk tells its first server only
        return [_made(batch, name, server) for name, server in named if isinstance(server, str)]

    async def _make_one(self, wish: Json, group: str | None) -> str:
        """The id of the server; of a bulk, of its first."""
        made = await self._api.post("compute", "/servers", wrapped(wish, group))
        return str(made["server"]["id"])


def _waiting(machine: Machine, lacks: str) -> Machine:
    """A control plane is of no use before its balancer serves: kubeadm dials the endpoint as soon as it starts."""
    fault = machine.fault if machine.state is CloudMachineState.ERROR else lacks
    return replace(machine, address=None, fault=fault)


def _made(batch: MachineBatch, name: str, server: str) -> Machine:
    return Machine(
        id=server,
        name=name,
        state=CloudMachineState.BUILDING,
        address=None,
        machine_type=batch.machine_type,
        owner=batch.owner,
        created_at=datetime.now(UTC),
    )
