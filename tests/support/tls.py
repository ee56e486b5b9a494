"""A cluster's authority with all that a stand-in for its kube-apiserver, or a prober of it, needs for TLS."""

import ssl
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from caravan_health.probe import present
from caravan_shared.contracts.requests import ClientCertificate
from tests.support.authority import Authority as ClusterAuthority

HOST = "demo.default.caravan.test"


class Authority(ClusterAuthority):
    """A cluster's CA that also signs for servers."""

    def __init__(self) -> None:
        super().__init__(host=HOST)

    def server_context(self, *, insists: bool = True) -> ssl.SSLContext:
        """A context that presents a certificate for the endpoint's name and wants one of the same CA."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "kube-apiserver")])
        certificate = (
            self._builder(name, key, timedelta(days=1))
            .issuer_name(self._certificate.subject)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(self.host)]), critical=False)
            .sign(self._key, SHA256())
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        present(context, certificate.public_bytes(Encoding.PEM).decode(), pem)
        context.load_verify_locations(cadata=self.ca_cert)
        context.verify_mode = ssl.CERT_REQUIRED if insists else ssl.CERT_OPTIONAL
        return context

    def for_health(self, lasts: timedelta = timedelta(hours=8)) -> ClientCertificate:
        """What dns answers when health asks for a certificate."""
        return certificate_for_health(self, lasts)


def certificate_for_health(authority: ClusterAuthority, lasts: timedelta = timedelta(hours=8)) -> ClientCertificate:
    """A certificate that may only read, as dns signs it."""
    cert, key = authority.client("health", "caravan:health", lifetime=lasts)
    return ClientCertificate(ca_cert=authority.ca_cert, cert=cert, key=key, not_after=datetime.now(UTC) + lasts)
