"""Answer DNS queries from one zone's contents: wire in, wire out. Pure: no sockets, no store.

An authoritative server for the few types that endpoint names need (RFC 1034, RFC 1035; negative answers by RFC 2308,
empty non-terminals by RFC 8020, EDNS by RFC 6891). It never recurses, never transfers and never takes updates.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from ipaddress import ip_address

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from caravan_dns.zones.base import Record

PLAIN_UDP_BYTES = 512
"""The most that a client without EDNS takes in one datagram (RFC 1035)."""
EDNS_UDP_BYTES = 1232
"""The most that we send in one datagram: it passes every common path unfragmented (DNS flag day 2020)."""
STREAM_BYTES = 65_535
"""The most that the two-byte length before a message on TCP can say."""
HEADER_BYTES = 12

_ANY_CLASS = (dns.rdataclass.IN, dns.rdataclass.ANY)
_TRANSFERS = (dns.rdatatype.AXFR, dns.rdatatype.IXFR)


@dataclass(frozen=True)
class ZoneContents:
    """Everything that one zone says at one moment."""

    origin: dns.name.Name
    serial: int
    ttl: int
    """Of the zone's own records and of negative answers, seconds."""
    server_address: str
    """Where the zone's one name server listens."""
    records: Mapping[dns.name.Name, Record]

    @cached_property
    def name_server(self) -> dns.name.Name:
        """The zone's one name server, a name inside the zone."""
        return dns.name.Name(("ns", *self.origin.labels))

    @cached_property
    def soa(self) -> dns.rrset.RRset:
        """The start of authority; it goes with every negative answer."""
        hostmaster = dns.name.Name(("hostmaster", *self.origin.labels))
        timers = (
            f"3600 600 86400 {self.ttl}"  # refresh, retry, expire for secondaries, which we have none of; negative ttl
        )
        return dns.rrset.from_text(
            self.origin, self.ttl, "IN", "SOA", f"{self.name_server} {hostmaster} {self.serial} {timers}"
        )

    @cached_property
    def names(self) -> frozenset[dns.name.Name]:
        """Every name that exists, the empty ones between a record and the origin included."""
        leaves = (self.name_server, *self.records)
        return frozenset(
            dns.name.Name(leaf.labels[depth:])
            for leaf in leaves
            for depth in range(len(leaf.labels) - len(self.origin.labels) + 1)
        )

    def rrsets(self, name: dns.name.Name) -> list[dns.rrset.RRset]:
        """All that the zone says of one name."""
        found = []
        if name == self.origin:
            found += [self.soa, dns.rrset.from_text(name, self.ttl, "IN", "NS", str(self.name_server))]
        if name == self.name_server:
            found += _address_rrsets(name, self.ttl, (self.server_address,))
        if record := self.records.get(name):
            found += _address_rrsets(name, record.ttl, record.addresses)
            if record.owner:
                found.append(dns.rrset.from_text(name, record.ttl, "IN", "TXT", f'"{record.owner.marker}"'))
        return found


def respond(wire: bytes, zone: ZoneContents, *, datagram: bool) -> bytes | None:
    """The answer to one query, None where none is due. A `datagram` too small for it comes back truncated (TC)."""
    try:
        query = dns.message.from_wire(wire)
    except (dns.exception.DNSException, ValueError, struct.error):
        return _format_error(wire)
    if query.flags & dns.flags.QR:
        return None
    response = dns.message.make_response(query, our_payload=EDNS_UDP_BYTES)
    response.set_rcode(_fill(response, query, zone))
    limit = _datagram_bytes(query) if datagram else STREAM_BYTES
    return response.to_wire(max_size=limit, prefer_truncation=True)


def _fill(response: dns.message.Message, query: dns.message.Message, zone: ZoneContents) -> dns.rcode.Rcode:
    if query.opcode() != dns.opcode.QUERY:
        return dns.rcode.NOTIMP
    if query.edns > 0:
        return dns.rcode.BADVERS
    if len(query.question) != 1:
        return dns.rcode.FORMERR
    question = query.question[0]
    if (
        question.rdclass not in _ANY_CLASS
        or question.rdtype in _TRANSFERS
        or not question.name.is_subdomain(zone.origin)
    ):
        return dns.rcode.REFUSED
    response.flags |= dns.flags.AA
    response.answer = [
        rrset for rrset in zone.rrsets(question.name) if question.rdtype in (rrset.rdtype, dns.rdatatype.ANY)
    ]
    if not response.answer:
        response.authority = [zone.soa]
    return dns.rcode.NOERROR if question.name in zone.names else dns.rcode.NXDOMAIN


def _address_rrsets(name: dns.name.Name, ttl: int, addresses: tuple[str, ...]) -> list[dns.rrset.RRset]:
    by_type = {
        kind: [address for address in addresses if ip_address(address).version == version]
        for kind, version in (("A", 4), ("AAAA", 6))
    }
    return [dns.rrset.from_text_list(name, ttl, "IN", kind, found) for kind, found in by_type.items() if found]


def _datagram_bytes(query: dns.message.Message) -> int:
    if query.edns < 0:
        return PLAIN_UDP_BYTES
    return max(PLAIN_UDP_BYTES, min(query.payload, EDNS_UDP_BYTES))


def _format_error(wire: bytes) -> bytes | None:
    """FORMERR under the query's own id; None for what is no query, lest two servers answer each other for ever."""
    if len(wire) < HEADER_BYTES:
        return None
    query_id, flags = struct.unpack("!HH", wire[:4])
    if flags & dns.flags.QR:
        return None
    opcode_and_rd = flags & (0x7800 | dns.flags.RD)
    return struct.pack("!HHHHHH", query_id, dns.flags.QR | opcode_and_rd | dns.rcode.FORMERR, 0, 0, 0, 0)
