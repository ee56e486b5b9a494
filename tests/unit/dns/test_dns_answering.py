"""The embedded name server's answers, wire to wire."""

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.update
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caravan_dns.zones.answering import ZoneContents, respond
from caravan_dns.zones.base import Owner, Record

ORIGIN = "caravan.test"
DEMO = f"demo.default.{ORIGIN}"
BIG = f"big.default.{ORIGIN}"
OWNER = Owner("here", "1")
ZONE = ZoneContents(
    origin=dns.name.from_text(ORIGIN),
    serial=7,
    ttl=5,
    server_address="127.0.0.1",
    records={
        dns.name.from_text(DEMO): Record(("10.0.0.1", "10.0.0.2", "fd00::1"), 5, OWNER),
        dns.name.from_text(BIG): Record(tuple(f"10.1.0.{number}" for number in range(1, 100)), 5, OWNER),
        dns.name.from_text(f"claimed.default.{ORIGIN}"): Record((), 5, OWNER),
    },
)


def ask(query: dns.message.Message, *, datagram: bool = True) -> dns.message.Message:
    answer = respond(query.to_wire(), ZONE, datagram=datagram)
    assert answer is not None
    message = dns.message.from_wire(answer)
    assert query.is_response(message)
    return message


def asked(name: str, rdtype: str) -> dns.message.Message:
    return ask(dns.message.make_query(name, rdtype))


def texts(answer: dns.message.Message) -> set[str]:
    return {rdata.to_text() for rrset in answer.answer for rdata in rrset}


def test_address_types_are_kept_apart() -> None:
    assert texts(asked(DEMO, "A")) == {"10.0.0.1", "10.0.0.2"}
    assert texts(asked(DEMO, "AAAA")) == {"fd00::1"}
    assert asked(DEMO, "A").answer[0].ttl == 5


def test_owner_is_told_as_text() -> None:
    assert texts(asked(DEMO, "TXT")) == {'"heritage=caravan,installation=here,cluster=1"'}


def test_zone_tells_of_itself() -> None:
    assert texts(asked(ORIGIN, "NS")) == {"ns.caravan.test."}
    assert texts(asked(f"ns.{ORIGIN}", "A")) == {"127.0.0.1"}
    (soa,) = asked(ORIGIN, "SOA").answer[0]
    assert soa.serial == 7


def test_answers_are_authoritative_and_never_recursive() -> None:
    answer = asked(DEMO, "A")
    assert answer.flags & dns.flags.AA
    assert not answer.flags & dns.flags.RA


def test_case_of_the_name_means_nothing_and_is_kept() -> None:
    answer = asked("DeMo.DEFAULT.caravan.TEST", "A")
    assert texts(answer) == {"10.0.0.1", "10.0.0.2"}
    assert answer.question[0].name.to_text() == "DeMo.DEFAULT.caravan.TEST."


def test_unknown_name_is_nxdomain_with_soa() -> None:
    answer = asked(f"nobody.default.{ORIGIN}", "A")
    assert answer.rcode() == dns.rcode.NXDOMAIN
    assert [rrset.rdtype for rrset in answer.authority] == [dns.rdatatype.SOA]


@pytest.mark.parametrize(
    ("name", "rdtype"), [(DEMO, "MX"), (f"claimed.default.{ORIGIN}", "A"), (f"default.{ORIGIN}", "A"), (ORIGIN, "A")]
)
def test_known_name_without_the_type_is_nodata_with_soa(name: str, rdtype: str) -> None:
    answer = asked(name, rdtype)
    assert (answer.rcode(), answer.answer) == (dns.rcode.NOERROR, [])
    assert [rrset.rdtype for rrset in answer.authority] == [dns.rdatatype.SOA]


@pytest.mark.parametrize("name", ["example.org", "test", ".", "xcaravan.test"])
def test_other_zones_are_refused(name: str) -> None:
    answer = asked(name, "A")
    assert answer.rcode() == dns.rcode.REFUSED
    assert not answer.flags & dns.flags.AA


@pytest.mark.parametrize("rdtype", ["AXFR", "IXFR"])
def test_transfers_are_refused(rdtype: str) -> None:
    assert asked(ORIGIN, rdtype).rcode() == dns.rcode.REFUSED


def test_updates_are_not_taken() -> None:
    update = dns.update.UpdateMessage(ORIGIN)
    update.add("intruder", 5, "A", "10.9.9.9")
    assert ask(update).rcode() == dns.rcode.NOTIMP


def test_other_classes_are_refused() -> None:
    assert ask(dns.message.make_query(DEMO, "A", rdclass=dns.rdataclass.CH)).rcode() == dns.rcode.REFUSED


def test_answer_too_big_for_a_datagram_is_truncated_and_whole_on_tcp() -> None:
    query = dns.message.make_query(BIG, "A")
    wire = respond(query.to_wire(), ZONE, datagram=True)
    assert wire is not None
    assert len(wire) <= 512
    assert ask(query).flags & dns.flags.TC
    whole = ask(query, datagram=False)
    assert not whole.flags & dns.flags.TC
    assert len(texts(whole)) == 99


def test_client_with_edns_gets_larger_datagrams_within_our_limit() -> None:
    query = dns.message.make_query(BIG, "A", use_edns=0, payload=4096)
    wire = respond(query.to_wire(), ZONE, datagram=True)
    assert wire is not None
    assert 0 < len(wire) <= 1232
    assert ask(query).edns == 0


def test_unknown_edns_version_is_answered_badvers() -> None:
    assert ask(dns.message.make_query(DEMO, "A", use_edns=1)).rcode() == dns.rcode.BADVERS


def test_response_is_never_answered() -> None:
    assert respond(dns.message.make_response(dns.message.make_query(DEMO, "A")).to_wire(), ZONE, datagram=True) is None


def test_garbage_after_a_header_is_a_format_error_under_the_same_id() -> None:
    answer = respond(b"\x12\x34\x01\x00\x00\x01" + bytes(6) + b"\xff\xff", ZONE, datagram=True)
    assert answer is not None
    assert answer[:2] == b"\x12\x34"
    assert dns.message.from_wire(answer).rcode() == dns.rcode.FORMERR


@settings(max_examples=120)
@given(
    wire=st.binary(max_size=80) | st.binary(max_size=40).map(lambda rest: b"\x00\x01\x01\x00\x00\x01" + bytes(6) + rest)
)
def test_no_input_breaks_the_server(wire: bytes) -> None:
    answer = respond(wire, ZONE, datagram=True)
    assert answer is None or answer[:2] == wire[:2]


@settings(max_examples=120)
@given(position=st.integers(0, 42), value=st.integers(0, 255))
def test_no_flipped_byte_breaks_the_server(position: int, value: int) -> None:
    wire = bytearray(dns.message.make_query(DEMO, "A", use_edns=0).to_wire())
    wire[position] = value
    answer = respond(bytes(wire), ZONE, datagram=True)
    assert answer is None or len(answer) <= 1232


@settings(max_examples=100)
@given(
    cluster=st.text("abcdef0123456789-", min_size=1, max_size=36),
    installation=st.text("abcXYZ._-", min_size=1, max_size=64),
)
def test_marker_names_its_owner(cluster: str, installation: str) -> None:
    owner = Owner(installation, cluster)
    assert Owner.of_marker(owner.marker) == owner


@pytest.mark.parametrize(
    "text", ["", "v=spf1 -all", "heritage=external-dns,installation=x,cluster=1", "heritage=caravan,installation=x"]
)
def test_other_texts_name_no_owner(text: str) -> None:
    assert Owner.of_marker(text) is None
