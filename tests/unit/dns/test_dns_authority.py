"""Certificates that verify, expire when they should and speak for whom they should."""

import hashlib
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from cryptography.x509.oid import NameOID
from cryptography.x509.verification import ExtensionPolicy, PolicyBuilder, Store, VerificationError

from caravan_dns.authority import CA_LIFETIME, KeyPair, Pki, Subject, ca_hash, make_pki, sign_client

NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
ALICE = Subject(user="alice", group="caravan:grant:1")


@pytest.fixture(scope="module")
def pki() -> Pki:
    return make_pki(NOW)


def parsed(pair: KeyPair) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pair.public.encode())


def verify(leaf: KeyPair, ca: KeyPair, at: datetime) -> None:
    policy = PolicyBuilder().store(Store([parsed(ca)])).time(at)
    # Kubernetes' client certificates carry a common name and no subject alternative name, unlike the web's.
    policies = {"ca_policy": ExtensionPolicy.webpki_defaults_ca(), "ee_policy": ExtensionPolicy.permit_all()}
    policy.extension_policies(**policies).build_client_verifier().verify(parsed(leaf), [])


def test_client_certificate_chains_to_its_own_ca_alone(pki: Pki) -> None:
    client, _ = sign_client(pki.ca, ALICE, NOW, timedelta(hours=1))
    verify(client, pki.ca, NOW)
    for other in (pki.etcd_ca, pki.front_proxy_ca, make_pki(NOW).ca):
        with pytest.raises(VerificationError):
            verify(client, other, NOW)


def test_client_certificate_is_void_once_its_lifetime_is_over(pki: Pki) -> None:
    client, not_after = sign_client(pki.ca, ALICE, NOW, timedelta(hours=1))
    assert not_after == (NOW + timedelta(hours=1)).replace(microsecond=0) == parsed(client).not_valid_after_utc
    with pytest.raises(VerificationError):
        verify(client, pki.ca, NOW + timedelta(hours=1, seconds=1))


def test_client_certificate_is_valid_on_a_machine_whose_clock_is_behind(pki: Pki) -> None:
    client, _ = sign_client(pki.ca, ALICE, NOW, timedelta(hours=1))
    verify(client, pki.ca, NOW - timedelta(minutes=4))


def test_no_client_certificate_outlives_its_ca(pki: Pki) -> None:
    _, not_after = sign_client(pki.ca, ALICE, NOW, CA_LIFETIME * 2)
    assert not_after == parsed(pki.ca).not_valid_after_utc


def test_openssl_accepts_the_chain_for_clients_and_refuses_it_for_servers(pki: Pki, tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text(pki.ca.public)
    (tmp_path / "client.crt").write_text(sign_client(pki.ca, ALICE, NOW, timedelta(hours=1))[0].public)
    command = ["openssl", "verify", "-x509_strict", "-attime", str(int(NOW.timestamp())), "-CAfile", "ca.crt"]

    def verdict(purpose: str) -> int:
        return subprocess.run(
            [*command, "-purpose", purpose, "client.crt"], cwd=tmp_path, capture_output=True, check=False
        ).returncode

    assert verdict("sslclient") == 0
    assert verdict("sslserver") != 0


def test_subject_becomes_kubernetes_user_and_group(pki: Pki) -> None:
    subject = parsed(sign_client(pki.ca, ALICE, NOW, timedelta(hours=1))[0]).subject
    assert [name.value for name in subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == ["alice"]
    assert [name.value for name in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)] == ["caravan:grant:1"]


def test_ca_hash_is_kubeadms(pki: Pki) -> None:
    spki = parsed(pki.ca).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert ca_hash(pki.ca.public) == "sha256:" + hashlib.sha256(spki).hexdigest()


def test_every_authority_is_p256_and_its_own(pki: Pki) -> None:
    pairs = (pki.ca, pki.etcd_ca, pki.front_proxy_ca, pki.service_account)
    keys = [load_pem_private_key(pair.key.encode(), None) for pair in pairs]
    assert all(isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1) for key in keys)
    assert len({pair.key for pair in pairs}) == len(pairs)


def test_service_account_keys_belong_together(pki: Pki) -> None:
    private = load_pem_private_key(pki.service_account.key.encode(), None)
    assert private.public_key() == load_pem_public_key(pki.service_account.public.encode())


def test_no_key_is_ever_shown_by_accident(pki: Pki) -> None:
    assert "PRIVATE" not in f"{pki!r} {pki.ca} {pki.service_account!r}"
