"""Whether an OpenStack cloud is usable as it is configured: every look is its own finding, with what to mend.

Nothing is made or changed. A look that fails is a finding, so that one page says all that is wrong at once.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Any

from caravan_provisioner.clouds.base import CloudRefused
from caravan_provisioner.clouds.openstack_api import NOVA, Api
from caravan_provisioner.clouds.openstack_balancers import APISERVER_PORT
from caravan_provisioner.clouds.openstack_catalogue import Catalogue
from caravan_provisioner.clouds.openstack_config import OpenStackConfig
from caravan_provisioner.clouds.openstack_names import near
from caravan_provisioner.clouds.openstack_quota import room
from caravan_shared.contracts.facts import Finding, FindingLevel
from caravan_shared.plumbing.errors import GiveUp, Retry

Json = dict[str, Any]

_WITHIN_S = 20.0  # for each look; less than whoever asked waits
_ENTRANCES = {22: "SSH, by which the playbooks come", APISERVER_PORT: "the kube-apiserver"}
_SMALLEST_CLUSTER = 3  # machines; with fewer left, hardly anything can be made


class Check:
    """The looks at one cloud."""

    def __init__(self, api: Api, catalogue: Catalogue, config: OpenStackConfig) -> None:
        self._api, self._catalogue, self._config = api, catalogue, config

    async def run(self) -> Sequence[Finding]:
        """All findings. Without a login no other look is worth its time."""
        login = await _look("auth", "Mend the entry in clouds.yaml or the region, or the way to Keystone.", self._auth)
        if any(finding.level is FindingLevel.FATAL for finding in login):
            return login
        named = "Mend the name in CARAVAN_PROVISIONER_CLOUDS, or make what it names."
        looks = await asyncio.gather(
            _look("api version", "Caravan needs Nova of the Stein release or newer.", self._version),
            _look("quota", "Have the project's quota raised.", self._quota),
            _look("flavors", named, self._flavors),
            _look("image", named, self._image),
            *(_look(f"network {name}", named, partial(self._network, name)) for name in self._config.networks),
            _look("security groups", named, self._security_groups),
            _look("zones and keys", named, self._zones_and_keys),
            _look("floating IPs", named, self._floating_ips),
            _look("boot volumes", named, self._boot_volumes),
            _look("dns and endpoints", "", self._services),
        )
        return [*login, *(finding for look in looks for finding in look)]

    async def _auth(self) -> list[Finding]:
        return [_ok("auth", f"logged in to the project {await self._api.project()}")]

    async def _version(self) -> list[Finding]:
        newest = await self._api.newest_nova()
        if newest < _version(NOVA):
            return [_fatal("api version", f"Nova speaks {_dotted(newest)} at most, {NOVA} is needed", "Upgrade Nova.")]
        return [_ok("api version", f"Nova speaks up to {_dotted(newest)}; {NOVA} is used")]

    async def _quota(self) -> list[Finding]:
        limits = (await self._api.get("compute", "/limits"))["limits"]
        absolute = limits["absolute"]
        findings = [
            _room("quota", what, absolute[most], absolute.get(used, 0), need)
            for what, most, used, need in (
                ("machines", "maxTotalInstances", "totalInstancesUsed", _SMALLEST_CLUSTER),
                ("processors", "maxTotalCores", "totalCoresUsed", _SMALLEST_CLUSTER),
                ("MiB of memory", "maxTotalRAMSize", "totalRAMUsed", _SMALLEST_CLUSTER * 1024),
            )
        ]
        if self._config.server_group_policy:
            findings.append(
                _room(
                    "quota", "server groups", absolute["maxServerGroups"], absolute.get("totalServerGroupsUsed", 0), 2
                )
            )
        rates = [
            f"{rate['uri']}: {limit['value']} a {limit['unit'].lower()}"
            for rate in limits["rate"]
            for limit in rate["limit"]
        ]
        pace = f"at most {self._config.requests_per_s:g} requests a second are sent"
        return [*findings, _ok("api limits", f"the cloud tells of {'; '.join(rates) or 'none'}; {pace}")]

    async def _flavors(self) -> list[Finding]:
        flavors = await self._catalogue.flavors()
        told = ", ".join(f"{name} ({each['vcpus']} CPUs, {each['ram']} MiB)" for name, each in sorted(flavors.items()))
        return [_ok("flavors", told)] if flavors else [_fatal("flavors", "there is none", "Have one made.")]

    async def _image(self) -> list[Finding]:
        image = await self._catalogue.image()
        if image["status"] != "active":
            return [_fatal("image", f"{image['name']} is {image['status']}", "Upload it anew.")]
        too_small = [
            name
            for name, flavor in (await self._catalogue.flavors()).items()
            if flavor["ram"] < (image.get("min_ram") or 0) or 0 < flavor["disk"] < (image.get("min_disk") or 0)
        ]
        if too_small:
            says = f"{image['name']} does not fit on {', '.join(sorted(too_small))}"
            return [_warning("image", says, "Leave those flavors out of `machine_types`.")]
        return [_ok("image", f"{image['name']} is active")]

    async def _network(self, name: str) -> list[Finding]:
        about = f"network {name}"
        network = await self._catalogue.network(name)
        subnets = (await self._api.get("network", "/subnets", {"network_id": network["id"]}))["subnets"]
        if network["status"] != "ACTIVE" or not network["admin_state_up"]:
            return [_fatal(about, f"it is {network['status']}", "Have it brought up.")]
        if not subnets:
            return [_fatal(about, "it has no subnet, so machines get no address", "Add a subnet.")]
        findings = [_ok(about, ", ".join(subnet["cidr"] for subnet in subnets))]
        routers = {"network_id": network["id"], "device_owner": "network:router_interface"}
        if not (await self._api.get("network", "/ports", routers))["ports"]:
            says = "no router of the project is on it: machines reach what is in it and no more"
            findings.append(_warning(about, says, "Add a router, or see that a mirror and DNS are inside."))
        if not any(subnet["dns_nameservers"] for subnet in subnets):
            says = "its subnets name no DNS servers; machines ask whatever DHCP tells them"
            findings.append(_warning(about, says, "Set the subnets' `dns_nameservers`."))
        return findings

    async def _security_groups(self) -> list[Finding]:
        groups = [await self._catalogue.security_group(name) for name in self._config.security_groups or ("default",)]
        names = ", ".join(group["name"] for group in groups)
        rules = [rule for group in groups for rule in group["security_group_rules"]]
        shut = [
            f"{port} ({what})" for port, what in _ENTRANCES.items() if not any(_lets_in(rule, port) for rule in rules)
        ]
        if shut:
            says = f"the groups {names} let nobody from outside in at {', '.join(shut)}"
            return [_warning("security groups", says, "Add ingress rules for wherever Caravan and users come from.")]
        return [_ok("security groups", names)]

    async def _zones_and_keys(self) -> list[Finding]:
        findings = []
        if self._config.availability_zones:
            listed = (await self._api.get("compute", "/os-availability-zone"))["availabilityZoneInfo"]
            there = {zone["zoneName"] for zone in listed if zone["zoneState"]["available"]}
            for zone in self._config.availability_zones:
                if zone not in there:
                    raise CloudRefused(self._api.name, f"it has no zone {zone!r} now; there is {near(zone, there)}")
            findings.append(_ok("zones", ", ".join(self._config.availability_zones)))
        if self._config.key_pair:
            await self._api.get("compute", f"/os-keypairs/{self._config.key_pair}")
            findings.append(_ok("key pair", self._config.key_pair))
        return findings

    async def _floating_ips(self) -> list[Finding]:
        if not self._config.floating_network:
            says = "none are used: Caravan has to be where it reaches the machines' own addresses"
            return [_ok("floating IPs", says)]
        network = await self._catalogue.network(self._config.floating_network)
        if not network["router:external"]:
            return [_fatal("floating IPs", f"{network['name']} is no external network", "Name one that is.")]
        return [_ok("floating IPs", f"from {network['name']}")]

    async def _boot_volumes(self) -> list[Finding]:
        gib, of_type = self._config.boot_volume_gib, self._config.boot_volume_type
        if gib is None:
            return []
        absolute = (await self._api.get("block-storage", "/limits"))["limits"]["absolute"]
        kind = (await self._catalogue.volume_type(of_type))["name"] if of_type else "the default type"
        return [
            _ok("boot volumes", f"{gib} GiB of {kind}"),
            *(
                _room("quota", what, absolute[most], absolute[used], need)
                for what, most, used, need in (
                    ("volumes", "maxTotalVolumes", "totalVolumesUsed", _SMALLEST_CLUSTER),
                    ("GiB of volumes", "maxTotalVolumeGigabytes", "totalGigabytesUsed", _SMALLEST_CLUSTER * gib),
                )
            ),
        ]

    async def _services(self) -> list[Finding]:
        designate, octavia = await self._api.endpoint("dns"), await self._api.endpoint("load-balancer")
        has = (
            "it has Designate: CARAVAN_DNS_ZONE=designate can keep the names there"
            if designate
            else "it has no Designate"
        )
        unused = "; its Octavia is not used, as `load_balancer` would" if octavia else ""
        follows = _ok("endpoint", f"the endpoint is a name that follows the control planes{unused}")
        return [_ok("dns", has), await self._balancer() if self._config.load_balancer else follows]

    async def _balancer(self) -> Finding:
        providers = await self._api.pages("load-balancer", "/lbaas/providers")
        names, wanted = [each["name"] for each in providers], self._config.load_balancer_provider
        if wanted and wanted not in names:
            raise CloudRefused(self._api.name, f"Octavia has no provider {wanted!r}; there is {near(wanted, names)}")
        return _ok("endpoint", f"a load balancer of {wanted or 'the default provider'} for every cluster")


async def _look(about: str, mend: str, look: Callable[[], Awaitable[list[Finding]]]) -> list[Finding]:
    """A look's findings, or why it could not be taken."""
    try:
        async with asyncio.timeout(_WITHIN_S):
            return await look()
    except TimeoutError:
        return [_fatal(about, f"no answer within {_WITHIN_S:g} s", "Look at the cloud's health, and at the way to it.")]
    except (Retry, GiveUp) as error:
        return [_fatal(about, error.reason, mend)]


def _room(about: str, what: str, most: int, used: int, need: int) -> Finding:
    free = room(most, used)
    if free is None:
        return _ok(about, f"{used} {what} in use, no limit")
    says = f"{used} of {most} {what} in use, {free} free"
    if not free:
        return _fatal(about, says, "Have the project's quota raised, or delete what nobody needs.")
    return _ok(about, says) if free >= need else _warning(about, says, "Have the project's quota raised.")


def _lets_in(rule: Json, port: int) -> bool:
    """Whether a rule lets others than the group's own members in at a TCP port."""
    return (
        rule["direction"] == "ingress"
        and not rule["remote_group_id"]
        and rule["protocol"] in (None, "tcp", "6", 6)
        and (rule["port_range_min"] is None or rule["port_range_min"] <= port <= rule["port_range_max"])
    )


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


def _dotted(version: Iterable[int]) -> str:
    return ".".join(str(part) for part in version)


def _ok(about: str, says: str) -> Finding:
    return Finding(about=about, level=FindingLevel.OK, says=says)


def _warning(about: str, says: str, mend: str) -> Finding:
    return Finding(about=about, level=FindingLevel.WARNING, says=says, mend=mend)


def _fatal(about: str, says: str, mend: str) -> Finding:
    return Finding(about=about, level=FindingLevel.FATAL, says=says, mend=mend)
