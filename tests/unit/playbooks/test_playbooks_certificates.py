"""When certificates end, as the machines read it."""

import importlib.util
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

FILE = Path(__file__).parents[3] / "playbooks/plugins/module_utils/caravan_x509.py"
KEY = ec.generate_private_key(ec.SECP256R1())


def module() -> Any:
    spec = importlib.util.spec_from_file_location("caravan_x509", FILE)
    assert spec
    assert spec.loader
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


not_after = module().not_after


def certificate(ends: datetime, issuer: str = "etcd-ca") -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)])
    builder = x509.CertificateBuilder(name, name, KEY.public_key(), x509.random_serial_number())
    signed = builder.not_valid_before(ends - timedelta(days=365)).not_valid_after(ends).sign(KEY, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM).decode()


@pytest.mark.parametrize("year", [1999, 2026, 2049, 2050, 2126])
@pytest.mark.parametrize("issuer", ["a", "a name that is so long that the issuer's length needs bytes of its own"[:64]])
def test_end_of_a_certificate_is_read(year: int, issuer: str) -> None:
    ends = datetime(year, 11, 24, 5, 1, 59, tzinfo=UTC)
    assert not_after(certificate(ends, issuer)) == ends


def test_text_around_a_certificate_and_a_second_one_are_passed_over() -> None:
    first, second = datetime(2030, 1, 1, tzinfo=UTC), datetime(2040, 1, 1, tzinfo=UTC)
    assert not_after(f"subject=etcd\n{certificate(first)}{certificate(second)}") == first


@pytest.mark.parametrize("text", ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_what_is_no_certificate_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="certificate"):
        not_after(text)
