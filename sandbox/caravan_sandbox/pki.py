"""Certificates: what kubeadm makes of a cluster's CA, and the TLS side of a simulated kube-apiserver."""

import hashlib
import ssl
import tempfile
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from ipaddress import ip_address, ip_network
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from caravan_sandbox.kube.cluster import Identity

SERVING_LIFETIME = timedelta(days=365)  # kubeadm's own
BACKDATED = timedelta(minutes=5)  # clocks differ a little


class PkiError(ValueError):
    """The certificates or keys don't fit; the message says which."""


def ca_hash(ca_cert_pem: str) -> str:
    """`sha256:<hex>` of the public key (SubjectPublicKeyInfo, DER), as caCertHashes has it. Raises PkiError."""
    public_key = _certificate(ca_cert_pem).public_key()
    der = public_key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return f"sha256:{hashlib.sha256(der).hexdigest()}"


def check_pair(ca_cert_pem: str, ca_key_pem: str) -> None:
    """Raise PkiError unless the key is the certificate's."""
    if _private_key(ca_key_pem).public_key() != _certificate(ca_cert_pem).public_key():
        raise PkiError("ca_key is not the key of ca_cert")


def server_context(identity: Identity, node_name: str, address: str) -> ssl.SSLContext:
    """TLS for one kube-apiserver: its serving certificate, and client certificates of the cluster's CA if offered."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_OPTIONAL
    context.load_verify_locations(cadata=identity.ca_cert)
    context.set_alpn_protocols(["http/1.1"])
    certificate, key = _serving_certificate(identity, node_name, address)
    with tempfile.NamedTemporaryFile(suffix=".pem") as file:  # the ssl module reads keys from files only
        Path(file.name).write_bytes(key + certificate)
        context.load_cert_chain(file.name)
    return context


def _serving_certificate(identity: Identity, node_name: str, address: str) -> tuple[bytes, bytes]:
    ca, ca_key = _certificate(identity.ca_cert), _private_key(identity.ca_key)
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kube-apiserver")]))
        .issuer_name(ca.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + SERVING_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_KEY_USAGE, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(_issuer_key_identifier(ca), critical=False)
        .add_extension(x509.SubjectAlternativeName(_alternative_names(identity, node_name, address)), critical=False)
        .sign(ca_key, None if isinstance(ca_key, ed25519.Ed25519PrivateKey) else hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return certificate.public_bytes(pem), private


def _alternative_names(identity: Identity, node_name: str, address: str) -> list[x509.GeneralName]:
    service = str(ip_network(identity.service_cidr, strict=False)[1])
    host = identity.endpoint.rpartition(":")[0]
    internal = "kubernetes.default.svc"
    names = [
        host,
        node_name,
        "localhost",
        "kubernetes",
        "kubernetes.default",
        internal,
        f"{internal}.{identity.dns_domain}",
    ]
    return [_general_name(name) for name in dict.fromkeys([*names, address, service, "127.0.0.1", *identity.cert_sans])]


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name.strip("[]")))
    except ValueError:
        return x509.DNSName(name)


def _issuer_key_identifier(ca: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    try:
        identifier = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.public_key())  # type: ignore[arg-type]  # CA keys can sign
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


@lru_cache(maxsize=1024)
def _certificate(pem: str) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(pem.encode())
    except ValueError as error:
        raise PkiError(f"not a PEM certificate: {error}") from error


CaKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


def _private_key(pem: str) -> CaKey:
    try:
        key = serialization.load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise PkiError(f"not a PEM private key: {error}") from error
    if not isinstance(key, CaKey):
        raise PkiError(f"a CA key can't be a {type(key).__name__}")
    return key


_KEY_USAGE = x509.KeyUsage(
    digital_signature=True,
    key_encipherment=True,
    content_commitment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)
