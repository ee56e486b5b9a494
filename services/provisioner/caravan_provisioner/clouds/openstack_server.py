"""What Nova is asked for and what its answers mean. Pure: no network, no clock.

Servers are found by one tag, which Nova can search for; whose they are in full stands in their metadata, which it
cannot. A bulk request names its servers `<name>-1` to `<name>-<count>`, which is just how a whole batch counts.
"""

import base64
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from ipaddress import ip_address
from typing import Any

from caravan_provisioner.clouds.base import CloudMachineState, Machine, MachineBatch, Owner
from caravan_provisioner.clouds.openstack_config import OpenStackConfig
from caravan_provisioner.clouds.openstack_zones import Zones
from caravan_shared.contracts.addresses import IPNetwork
from caravan_shared.contracts.spec import Role
from caravan_shared.plumbing.ssh_keys import SshKeyPair, make_ssh_key_pair

Json = dict[str, Any]

MACHINE_TYPE = "caravan-machine-type"
HOST_KEY = "caravan-host-key"
USER_DATA_LIMIT = 65_535  # bytes of base64 that Nova takes

_FAULT_LETTERS = 500  # of a fault's text; Nova appends whole tracebacks for administrators
_HOST_KEYS = re.compile(r"-----BEGIN SSH HOST KEY KEYS-----(.*?)-----END SSH HOST KEY KEYS-----", re.DOTALL)
_HOST_KEY = re.compile(r"(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(?:256|384|521)) ([A-Za-z0-9+/]{40,}={0,2})")
_QUOTA = re.compile(
    r"[Qq]uota exceeded for (?P<resources>[\w, ]+): Requested (?P<need>[\d, ]+), "
    r"but already used (?P<used>[\d, ]+) of (?P<limit>[\d, ]+)"
)
_UNIFIED_QUOTA = re.compile(
    r"Resource (?P<resource>\S+) is over limit of (?P<limit>\d+) "
    r"due to current usage (?P<used>\d+) and delta (?P<need>\d+)"
)


@dataclass(frozen=True, slots=True)
class Boot:
    """The ids of what a batch boots with."""

    flavor: str
    image: str
    networks: Sequence[str]


def tag(installation: str) -> str:
    """The tag that all servers of an installation carry; at most 60 characters, no comma, no slash."""
    return f"caravan={installation}"


def requests_for(batch: MachineBatch, boot: Boot, config: OpenStackConfig, zones: Zones) -> list[Json]:
    """The bodies of `POST /servers` that make the batch: one where Nova's names and one zone suit it, else one each."""
    count = len(batch.numbers)
    together = count > 1 and batch.numbers == tuple(range(1, count + 1)) and config.host_keys == "console"
    if together and (not config.availability_zones or batch.owner.role is Role.WORKER):
        return [_request(batch, batch.prefix, boot, config, zones.take(batch.owner, count)) | _bulk(count)]
    return [_request(batch, name, boot, config, zones.take(batch.owner)) for name in batch.names()]


def wrapped(server: Json, group: str | None) -> Json:
    """A request's body."""
    return {"server": server} | ({"os:scheduler_hints": {"group": group}} if group else {})


def machine(listed: Mapping[str, Any], subnet: IPNetwork | None, *, floating: bool) -> Machine:
    """A server as `GET /servers/detail` lists it. `floating`: it is reached at its floating IP alone."""
    metadata = listed["metadata"]
    return Machine(
        id=listed["id"],
        name=listed["name"],
        state=_state(listed["status"]),
        address=address(listed, subnet, floating=floating),
        machine_type=metadata.get(MACHINE_TYPE) or listed["flavor"].get("original_name", ""),
        owner=Owner.of(metadata),
        created_at=datetime.fromisoformat(listed["created"]),
        touched_at=datetime.fromisoformat(listed["updated"]),
        fault=fault(listed),
        host_keys=(metadata[HOST_KEY],) if HOST_KEY in metadata else (),
    )


def address(listed: Mapping[str, Any], subnet: IPNetwork | None, *, floating: bool) -> str | None:
    """A server's floating IP, or its fixed address in `subnet`; IPv4 first, as the rest of Caravan prefers it."""
    kind, addresses = "floating" if floating else "fixed", listed["addresses"]
    found = [
        port["addr"]
        for ports in addresses.values()
        for port in ports
        if port.get("OS-EXT-IPS:type", "fixed") == kind and (floating or subnet is None or _is_in(port["addr"], subnet))
    ]
    return min(found, key=lambda each: ip_address(each).version, default=None)


def is_leaving(listed: Mapping[str, Any]) -> bool:
    """Whether Nova is at deleting it, or has done so and is about to forget it."""
    return listed.get("OS-EXT-STS:task_state") == "deleting" or listed["status"] == "DELETED"


def leaving_since(
    listed: Iterable[Mapping[str, Any]], known: Mapping[str, datetime], began: datetime
) -> dict[str, datetime]:
    """Since when servers leave, by id: by a listing that began then, and by deletions that Nova took since."""
    said = {each["id"]: known.get(each["id"], began) for each in listed if is_leaving(each)}
    return said | {server: since for server, since in known.items() if since >= began}


def volumes(listed: Mapping[str, Any]) -> frozenset[str]:
    """Ids of its volumes that go with it."""
    attached = listed.get("os-extended-volumes:volumes_attached", [])
    return frozenset(each["id"] for each in attached if each["delete_on_termination"])


def fault(server: Mapping[str, Any]) -> str | None:
    """Why Nova says that a server is in ERROR; None where it is not, or where the answer leaves that out."""
    said = server.get("fault")
    if not said or server["status"] != "ERROR":
        return None
    text = str(said.get("message") or "it names no reason").strip()[:_FAULT_LETTERS]
    return f"Nova could not make it ({said.get('code', 'no code')}): {text}"


def host_keys(console: str) -> tuple[str, ...]:
    """The public SSH host keys that cloud-init prints on the console at first boot, `<type> <base64>`."""
    blocks = _HOST_KEYS.findall(console)
    return tuple(" ".join(key) for key in _HOST_KEY.findall(blocks[-1])) if blocks else ()


def exceeded(message: str) -> tuple[str, int, int] | None:
    """What a refusal for quota names: (resource, need, free) of the first one that lacks; None for another refusal."""
    if unified := _UNIFIED_QUOTA.search(message):
        return unified["resource"], int(unified["need"]), max(0, int(unified["limit"]) - int(unified["used"]))
    found = _QUOTA.search(message)
    if not found:
        return None
    names = [name.strip() for name in found["resources"].split(",")]
    need, used, limit = (_numbers(found[part]) for part in ("need", "used", "limit"))
    rows = list(zip(names, need, used, limit, strict=False))
    lacking = [row for row in rows if row[1] + row[2] > row[3]]
    name, wanted, taken, most = (lacking or rows)[0]
    return name, wanted, max(0, most - taken)


def _request(batch: MachineBatch, name: str, boot: Boot, config: OpenStackConfig, zone: str | None) -> Json:
    server: Json = {
        "name": name,
        "flavorRef": boot.flavor,
        "networks": [{"uuid": network} for network in boot.networks],
        "metadata": batch.owner.tags() | {MACHINE_TYPE: batch.machine_type},
        "tags": [tag(batch.owner.installation)],
    }
    if config.security_groups:
        server["security_groups"] = [{"name": group} for group in config.security_groups]
    if config.key_pair:
        server["key_name"] = config.key_pair
    if config.config_drive:
        server["config_drive"] = True
    if zone:
        server["availability_zone"] = zone
    user_data = batch.user_data
    if config.host_keys == "user-data":
        key = make_ssh_key_pair("")
        server["metadata"] |= {HOST_KEY: key.public.strip()}
        user_data = with_host_key(user_data, key)
    if user_data is not None:
        server["user_data"] = base64.b64encode(user_data.encode()).decode()
    if config.boot_volume_gib:
        server["block_device_mapping_v2"] = [_boot_volume(boot.image, config)]
    else:
        server["imageRef"] = boot.image  # beside a volume it would make Nova believe in a local disk
    return server


def with_host_key(user_data: str | None, key: SshKeyPair) -> str:
    """User-data in parts for cloud-init: what was given, and the key instead of those that the machine would make."""
    parts = MIMEMultipart()
    if user_data is not None:
        parts.attach(MIMEText(user_data, "cloud-config"))
    own = {"ssh_deletekeys": True, "ssh_keys": {"ed25519_private": key.private, "ed25519_public": key.public}}
    parts.attach(MIMEText("#cloud-config\n" + json.dumps(own), "cloud-config"))
    return parts.as_string()


def _boot_volume(image: str, config: OpenStackConfig) -> Json:
    volume: Json = {
        "boot_index": 0,
        "uuid": image,
        "source_type": "image",
        "destination_type": "volume",
        "volume_size": config.boot_volume_gib,
        "delete_on_termination": True,
    }
    return volume | ({"volume_type": config.boot_volume_type} if config.boot_volume_type else {})


def _bulk(count: int) -> Json:
    """All or none: Nova refuses as a whole what its quota has no room for."""
    return {"min_count": count, "max_count": count}


def _state(status: str) -> CloudMachineState:
    """Nova's status (https://docs.openstack.org/api-guide/compute/server_concepts.html) in our words.

    One that was shut off, suspended or rescued by someone is still there: health has its say on it.
    """
    match status:
        case "BUILD":
            return CloudMachineState.BUILDING
        case "SHUTOFF":
            return CloudMachineState.STOPPED
        case "ERROR":
            return CloudMachineState.ERROR
    return CloudMachineState.ACTIVE


def _is_in(address: str, subnet: IPNetwork) -> bool:
    return ip_address(address) in subnet


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.replace(" ", "").split(",") if number]
