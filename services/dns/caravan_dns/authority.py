"""Make a cluster's certificate authorities and sign client certificates with them. Pure but for the randomness of keys.

What `kubeadm init phase certs` would make, made before the first machine exists: a CA each for the cluster, its etcd
and its front proxy, and the key pair that signs service-account tokens (https://kubernetes.io/docs/setup/best-practices/certificates/).
ECDSA P-256 everywhere: a key takes well under a millisecond, where RSA takes seconds of CPU.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CA_LIFETIME = timedelta(days=3650)
"""As kubeadm's own CAs: 10 years."""

CLOCK_SKEW = timedelta(minutes=5)
"""How far behind ours a machine's clock may be without finding a new certificate not yet valid."""


@dataclass(frozen=True)
class KeyPair:
    """A private key and its public side (a certificate, or a bare public key), both PEM; repr leaves the key out."""

    public: str
    key: str

    def __repr__(self) -> str:
        return f"KeyPair(public={self.public!r})"


@dataclass(frozen=True)
class Pki:
    """All of one cluster's authorities."""

    ca: KeyPair
    etcd_ca: KeyPair
    front_proxy_ca: KeyPair
    service_account: KeyPair


@dataclass(frozen=True)
class Subject:
    """Whom a client certificate speaks for: Kubernetes reads CN as the user and O as the group."""

    user: str
    group: str


def make_pki(now: datetime) -> Pki:
    """New authorities for one cluster, valid from `now` less the clock skew, under the common names kubeadm uses."""
    return Pki(
        ca=_make_ca("kubernetes", now),
        etcd_ca=_make_ca("etcd-ca", now),
        front_proxy_ca=_make_ca("front-proxy-ca", now),
        service_account=_make_bare_pair(),
    )


def sign_client(ca: KeyPair, subject: Subject, now: datetime, lifetime: timedelta) -> tuple[KeyPair, datetime]:
    """A client certificate with a new key, and when it expires: `lifetime` from now, never later than the CA itself."""
    issuer = x509.load_pem_x509_certificate(ca.public.encode())
    not_after = min(now + lifetime, issuer.not_valid_after_utc).replace(microsecond=0)
    key = _new_key()
    certificate = (
        _begin(_name_of(subject), issuer.subject, key.public_key(), now, not_after)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(
                issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
            ),
            critical=False,
        )
        .sign(_load_key(ca.key), hashes.SHA256())
    )
    return KeyPair(_certificate_pem(certificate), _key_pem(key)), not_after


def ca_hash(certificate: str) -> str:
    """`sha256:<hex>` over the DER SubjectPublicKeyInfo of a PEM certificate, as kubeadm's `caCertHashes` (RFC 7469)."""
    public_key = x509.load_pem_x509_certificate(certificate.encode()).public_key()
    spki = public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return f"sha256:{hashlib.sha256(spki).hexdigest()}"


def _make_ca(common_name: str, now: datetime) -> KeyPair:
    key = _new_key()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    public_key = key.public_key()
    identifier = x509.SubjectKeyIdentifier.from_public_key(public_key)
    certificate = (
        _begin(name, name, public_key, now, now + CA_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(digital_signature=True, key_cert_sign=True), critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .sign(key, hashes.SHA256())
    )
    return KeyPair(_certificate_pem(certificate), _key_pem(key))


def _make_bare_pair() -> KeyPair:
    key = _new_key()
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    return KeyPair(public, _key_pem(key))


def _begin(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    now: datetime,
    not_after: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(not_after)
    )


def _name_of(subject: Subject) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, subject.group),
            x509.NameAttribute(NameOID.COMMON_NAME, subject.user),
        ]
    )


def _key_usage(*, digital_signature: bool, key_cert_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=key_cert_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _load_key(pem: str) -> ec.EllipticCurvePrivateKey:
    key = load_pem_private_key(pem.encode(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"an authority's key is ECDSA, this one is {type(key).__name__}")
    return key


def _certificate_pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    # SEC 1 ("EC PRIVATE KEY") is the form that kubeadm itself writes for ECDSA keys.
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()
