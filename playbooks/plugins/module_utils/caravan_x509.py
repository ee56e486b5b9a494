"""When a certificate ends, read from its DER encoding with the standard library alone. Pure.

kubeadm tells that only where it finds every certificate that it knows, and Python's own reader is private. The way to
`notAfter` through the structure is short (RFC 5280, 4.1): certificate, to-be-signed part, and there after the version,
the serial number, the algorithm and the issuer the validity: two times.
"""

from __future__ import annotations

import datetime
import ssl

SEQUENCE, UTC_TIME, VERSION = 0x30, 0x17, 0xA0  # tags
LONG_FORM = 0x80  # in a length: its low bits count the bytes that the length really is in
BEFORE_VALIDITY = 3  # serial number, algorithm, issuer


def not_after(pem: str) -> datetime.datetime:
    """The end of the (first) certificate. Raises ValueError for what is none."""
    begin, end = pem.find("-----BEGIN CERTIFICATE-----"), pem.find("-----END CERTIFICATE-----")
    if begin < 0 or end < 0:
        raise ValueError("there is no certificate in it")
    certificate = _inside(ssl.PEM_cert_to_DER_cert(pem[begin:end] + "-----END CERTIFICATE-----\n"))
    rest = _inside(certificate)
    if rest[0] == VERSION:
        rest = _after(rest)
    for _ in range(BEFORE_VALIDITY):
        rest = _after(rest)
    ends = _after(_inside(rest))
    return _time(ends[0], _body(ends)[0].decode("ascii"))


def _time(tag: int, text: str) -> datetime.datetime:
    """Years have two digits until 2049 (UTCTime), four from then on (GeneralizedTime)."""
    full = ("20" if int(text[:2]) < 50 else "19") + text if tag == UTC_TIME else text
    return datetime.datetime.strptime(full, "%Y%m%d%H%M%SZ").replace(tzinfo=datetime.timezone.utc)


def _inside(encoded: bytes) -> bytes:
    if encoded[:1] != bytes([SEQUENCE]):
        raise ValueError("it is no certificate")
    return _body(encoded)[0]


def _after(encoded: bytes) -> bytes:
    return _body(encoded)[1]


def _body(encoded: bytes) -> tuple[bytes, bytes]:
    """The content of the first element, and what follows it."""
    length, start = encoded[1], 2
    if length & LONG_FORM:
        start += length & ~LONG_FORM
        length = int.from_bytes(encoded[2:start], "big")
    return encoded[start : start + length], encoded[start + length :]
