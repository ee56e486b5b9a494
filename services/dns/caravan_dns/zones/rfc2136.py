"""Endpoint names in a zone of the operator's own name server: dynamic updates (RFC 2136) signed with TSIG (RFC 8945).

Every update carries its prerequisite (the name is ours, or nobody's), so that even a record that appears between our
reading and our writing is not overwritten: the server itself refuses.
"""

import asyncio
from ipaddress import ip_address

import dns.asyncquery
import dns.exception
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rdtypes.ANY.TXT
import dns.tsig
import dns.update

from caravan_dns.errors import NameTaken, ZoneRefused, ZoneUnreachable
from caravan_dns.zones.base import Owner, Record
from caravan_shared.plumbing.errors import Retry

TIMEOUT_S = 5.0
"""For one exchange; a name server that needs longer is as good as down."""

_ADDRESS_TYPES = (dns.rdatatype.A, dns.rdatatype.AAAA)
_OUR_TYPES = (*_ADDRESS_TYPES, dns.rdatatype.TXT)
_CHANGED_MEANWHILE = (dns.rcode.YXDOMAIN, dns.rcode.NXDOMAIN, dns.rcode.YXRRSET, dns.rcode.NXRRSET)
_KEY_TROUBLE = (
    dns.tsig.PeerError,
    dns.tsig.BadKey,
    dns.tsig.BadSignature,
    dns.tsig.BadTime,
    dns.message.UnknownTSIGKey,
)


class Rfc2136Zone:
    """One zone on one name server that takes signed updates: bind9, knot, PowerDNS and their like."""

    kind = "rfc2136"

    def __init__(self, origin: str, address: str, port: int, key: dns.tsig.Key) -> None:
        """`address` is the primary's IP address; `key` signs updates and queries alike."""
        self._origin = dns.name.from_text(origin)
        self._address, self._port, self._key = address, port, key
        self._server = f"{address}:{port}"

    async def ensure(self, name: str, addresses: tuple[str, ...], ttl: int, owner: Owner) -> bool:
        """Make the name have exactly these addresses; True if anything had to change. Raises NameTaken."""
        wanted, found = Record(addresses, ttl, owner), await self.read(name)
        if wanted.same_as(found):
            return False
        if found and found.owner != owner:
            raise NameTaken(name, str(found.owner or "someone else"))
        update = self._update(name, owner if found else None)
        for address in addresses:
            update.add(dns.name.from_text(name), ttl, f"{'A' if ip_address(address).version == 4 else 'AAAA'}", address)
        update.add(dns.name.from_text(name), ttl, "TXT", f'"{owner.marker}"')
        await self._apply(update, name)
        return True

    async def remove(self, name: str, owner: Owner) -> bool:
        """Take the name away if it is this owner's, else leave it alone; True if anything had to change."""
        found = await self.read(name)
        if found is None or found.owner != owner:
            return False
        await self._apply(self._update(name, owner), name)
        return True

    async def read(self, name: str) -> Record | None:
        """What the server holds under the name; None if it has no such name."""
        answers = await asyncio.gather(*(self._query(name, rdtype) for rdtype in _OUR_TYPES))
        if any(answer.rcode() == dns.rcode.NXDOMAIN for answer in answers):
            return None
        rrsets = [rrset for answer in answers for rrset in answer.answer]
        addresses = tuple(rdata.address for rrset in rrsets if rrset.rdtype in _ADDRESS_TYPES for rdata in rrset)
        return Record(addresses, min((rrset.ttl for rrset in rrsets), default=0), _owner_of(rrsets))

    def _update(self, name: str, present_owner: Owner | None) -> dns.update.UpdateMessage:
        """An update that empties the name of what we write, on condition that it is still as we read it."""
        absolute = dns.name.from_text(name)
        update = dns.update.UpdateMessage(self._origin, keyring=self._key)
        if present_owner:
            update.present(absolute, "TXT", f'"{present_owner.marker}"')
        else:
            update.absent(absolute)
        for rdtype in _OUR_TYPES:
            update.delete(absolute, rdtype)
        return update

    async def _apply(self, update: dns.update.UpdateMessage, name: str) -> None:
        rcode = (await self._exchange(update)).rcode()
        if rcode in _CHANGED_MEANWHILE:
            raise Retry(f"{name} changed in the zone while it was being written ({dns.rcode.to_text(rcode)})")
        self._check(rcode)

    async def _query(self, name: str, rdtype: dns.rdatatype.RdataType) -> dns.message.Message:
        query = dns.message.make_query(name, rdtype)
        query.use_tsig(self._key)
        answer = await self._exchange(query)
        if answer.rcode() != dns.rcode.NXDOMAIN:
            self._check(answer.rcode())
        return answer

    async def _exchange(self, message: dns.message.Message) -> dns.message.Message:
        try:
            return await dns.asyncquery.tcp(message, self._address, port=self._port, timeout=TIMEOUT_S)
        except _KEY_TROUBLE as refused:
            raise ZoneRefused(
                self._server, f"it does not accept our TSIG key {self._key.name} ({refused})"
            ) from refused
        except (OSError, EOFError, dns.exception.DNSException) as trouble:
            raise ZoneUnreachable(self._server, str(trouble) or type(trouble).__name__) from trouble

    def _check(self, rcode: dns.rcode.Rcode) -> None:
        if rcode == dns.rcode.SERVFAIL:
            raise ZoneUnreachable(self._server, "it answers SERVFAIL")
        if rcode != dns.rcode.NOERROR:
            raise ZoneRefused(self._server, f"{dns.rcode.to_text(rcode)} for the zone {self._origin}")


def _owner_of(rrsets: list[dns.rrset.RRset]) -> Owner | None:
    """Whose the name is; a TXT beside our marker makes it someone else's too, so not ours to overwrite."""
    texts = [
        b"".join(rdata.strings).decode(errors="replace")
        for rrset in rrsets
        if rrset.rdtype == dns.rdatatype.TXT
        for rdata in rrset
    ]
    return Owner.of_marker(texts[0]) if len(texts) == 1 else None
