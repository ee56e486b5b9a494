"""Endpoint names in a zone of OpenStack's DNS service, Designate (its API version 2).

Designate has no update of several record sets at once, so the marker comes first and goes last: whoever made it owns
the name, since the API takes only one record set of a name and type. A change counts as made when Designate calls it
active: its name servers have it.

https://docs.openstack.org/api-ref/dns/
"""

import asyncio
from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import requests
from keystoneauth1 import exceptions as keystone
from keystoneauth1.adapter import Adapter

from caravan_dns.errors import NameTaken, ZoneRefused, ZoneUnreachable
from caravan_dns.zones.base import Owner, Record
from caravan_dns.zones.openstack_login import service
from caravan_shared.plumbing.errors import Retry

SERVED_WITHIN_S = 60.0
"""Until Designate's name servers have a change; it looks after them every few seconds."""

_LOOK_EVERY_S = 1.0
_SERVER = "designate"
_TEXT = "TXT"
_OUR_TYPES = ("A", "AAAA", _TEXT)

Json = dict[str, Any]


class DesignateZone:
    """One zone of one project, reached as clouds.yaml says."""

    kind = "designate"

    def __init__(self, origin: str, cloud: str | None, clouds_file: Path | None) -> None:
        """`cloud`: entry of clouds.yaml, OS_CLOUD if None. `clouds_file`: where that is, the usual places if None."""
        self._origin, self._cloud, self._clouds_file = f"{origin}.", cloud, clouds_file
        self._opening = asyncio.Lock()
        self._api: Adapter | None = None
        self._zone = ""

    async def ensure(self, name: str, addresses: tuple[str, ...], ttl: int, owner: Owner) -> bool:
        """Make the name have exactly these addresses; True if anything had to change. Raises NameTaken."""
        found = await self._record_sets(name)
        wanted, held = Record(addresses, ttl, owner), _record(found)
        if wanted.same_as(held):
            await self._served(name)
            return False
        if held and held.owner != owner:
            raise NameTaken(name, str(held.owner or "someone else"))
        await self._write(name, _TEXT, [f'"{owner.marker}"'], ttl, found)
        for kind, version in (("A", 4), ("AAAA", 6)):
            await self._write(
                name, kind, [each for each in addresses if ip_address(each).version == version], ttl, found
            )
        await self._served(name)
        return True

    async def remove(self, name: str, owner: Owner) -> bool:
        """Take the name away if it is this owner's, else leave it alone; True if anything had to change."""
        found = await self._record_sets(name)
        held = _record(found)
        if held is None or held.owner != owner:
            return False
        for kind in _OUR_TYPES:  # the marker last: what is left half-way is still known as ours
            await self._write(name, kind, [], 0, found)
        await self._served(name)
        return True

    async def read(self, name: str) -> Record | None:
        """What Designate holds under the name; None if it has no such name."""
        return _record(await self._record_sets(name))

    async def _write(self, name: str, kind: str, records: list[str], ttl: int, found: Mapping[str, Json]) -> None:
        """Make one record set so; without records there shall be none."""
        path, old = f"/zones/{await self._zone_id()}/recordsets", found.get(kind)
        if old is None and records:
            await self._ask("POST", path, {"name": f"{name}.", "type": kind, "ttl": ttl, "records": records})
        elif old and not records:
            await self._ask("DELETE", f"{path}/{old['id']}")
        elif old and (set(old["records"]), old["ttl"]) != (set(records), ttl):
            await self._ask("PUT", f"{path}/{old['id']}", {"ttl": ttl, "records": records})

    async def _served(self, name: str) -> None:
        """Wait until the name servers have what was written."""
        ends_at = asyncio.get_running_loop().time() + SERVED_WITHIN_S
        while waiting := [each["status"] for each in await self._all_record_sets(name) if each["status"] != "ACTIVE"]:
            if asyncio.get_running_loop().time() > ends_at:
                raise ZoneUnreachable(_SERVER, f"its name servers have not taken {name} yet: it is {waiting[0]}")
            await asyncio.sleep(_LOOK_EVERY_S)

    async def _record_sets(self, name: str) -> dict[str, Json]:
        """By type; what is on its way out counts as gone."""
        listed = await self._all_record_sets(name)
        return {each["type"]: each for each in listed if each["action"] != "DELETE"}

    async def _all_record_sets(self, name: str) -> list[Json]:
        path = f"/zones/{await self._zone_id()}/recordsets?name={name}."
        return list((await self._ask("GET", path))["recordsets"])

    async def _zone_id(self) -> str:
        async with self._opening:
            if not self._zone:
                zones = (await self._ask("GET", f"/zones?name={self._origin}"))["zones"]
                if not zones:
                    raise ZoneRefused(_SERVER, f"the project has no zone {self._origin}: make it, or have it shared")
                self._zone = zones[0]["id"]
            return self._zone

    async def _ask(self, method: str, path: str, body: Json | None = None) -> Json:
        try:
            return await asyncio.to_thread(self._send, method, path, body)
        except keystone.HttpError as error:
            raise _told(error.http_status, error.message or str(error)) from error
        except (keystone.ConnectionError, keystone.RetriableConnectionFailure, requests.RequestException) as error:
            raise ZoneUnreachable(_SERVER, str(error)) from error
        except keystone.ClientException as error:
            raise ZoneRefused(_SERVER, str(error)) from error

    def _send(self, method: str, path: str, body: Json | None) -> Json:
        if self._api is None:
            self._api = service(self._cloud, self._clouds_file, "dns")
        response = self._api.request(path, method, json=body, raise_exc=False)
        if response.status_code >= 400:
            raise _told(response.status_code, _message(response))
        answer: Json = response.json() if response.content else {}
        return answer


def _told(status: int, message: str) -> Exception:
    """A refusal, in our words. A conflict is somebody who was faster; a thing that is gone, somebody who removed it."""
    said = f"{status} {message}"
    if status in (404, 409):
        return Retry(f"the zone changed while it was being written: {said}")
    if status >= 500 or status == requests.codes.too_many_requests:
        return ZoneUnreachable(_SERVER, said)
    return ZoneRefused(_SERVER, said)


def _message(response: requests.Response) -> str:
    try:
        body = response.json()
    except ValueError:
        return str(response.reason)
    return str(body.get("message") or body.get("type") or response.reason)


def _record(found: Mapping[str, Json]) -> Record | None:
    if not found:
        return None
    addresses = tuple(address for kind in ("A", "AAAA") for address in _records(found, kind))
    return Record(addresses, min(each["ttl"] or 0 for each in found.values()), _owner(found))


def _owner(found: Mapping[str, Json]) -> Owner | None:
    """Whose the name is; a text beside our marker, or an alias, makes it someone else's."""
    texts = [text.strip('"') for text in _records(found, _TEXT)]
    return Owner.of_marker(texts[0]) if len(texts) == 1 and set(found) <= set(_OUR_TYPES) else None


def _records(found: Mapping[str, Json], kind: str) -> Iterable[str]:
    return found[kind]["records"] if kind in found else ()
