"""What stands in for dns in the sandbox's tests: a cluster's CA, client certificates, kubeconfigs, kubeadm's texts."""

import base64
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from caravan_sandbox.pki import ca_hash

TOKEN = "abcdef.0123456789abcdef"
VERSION = "1.34.2"


def _pem(key: ec.EllipticCurvePrivateKey) -> str:
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(encoding, form, serialization.NoEncryption()).decode()


@dataclass
class Authority:
    """A cluster's CA with its name: what dns makes of a requested cluster."""

    host: str = field(default_factory=lambda: f"c{secrets.token_hex(3)}.caravan.test")
    port: int = 6443

    def __post_init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kubernetes")])
        self._certificate = (
            self._builder(name, self._key, timedelta(days=1))
            .issuer_name(name)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.ca_cert = self._certificate.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def endpoint(self) -> str:
        """`host:port`."""
        return f"{self.host}:{self.port}"

    @property
    def ca_hash(self) -> str:
        """As caCertHashes has it."""
        return ca_hash(self.ca_cert)

    def pki(self) -> dict[str, str]:
        """The `pki` argument of the console's commands; one CA serves for all three."""
        pairs = dict.fromkeys(("ca_cert", "etcd_ca_cert", "front_proxy_ca_cert"), self.ca_cert)
        pairs |= {name: _pem(self._key) for name in ("ca_key", "etcd_ca_key", "front_proxy_ca_key")}
        return {**pairs, "service_account_key": "unused", "service_account_public_key": "unused"}

    def client(self, user: str, *groups: str, lifetime: timedelta = timedelta(hours=1)) -> tuple[str, str]:
        """A client certificate and its key, PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = [x509.NameAttribute(NameOID.COMMON_NAME, user)]
        names += [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        certificate = (
            self._builder(x509.Name(names), key, lifetime)
            .issuer_name(self._certificate.subject)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM).decode(), _pem(key)

    def kubeconfig(self, address: str, user: str = "admin", *groups: str) -> dict[str, Any]:
        """A kubeconfig that dials the address and checks the endpoint's name."""
        certificate, key = self.client(user, *(groups or ("system:masters",)))
        cluster = {
            "server": f"https://{address}:{self.port}",
            "tls-server-name": self.host,
            "certificate-authority-data": _b64(self.ca_cert),
        }
        credentials = {"client-certificate-data": _b64(certificate), "client-key-data": _b64(key)}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "test", "user": credentials}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        }

    def init_config(self, node: str, version: str = VERSION, **cluster: Any) -> str:
        """The texts for kubeadm init, with `TOKEN` as bootstrap token."""
        init = {
            "apiVersion": "kubeadm.k8s.io/v1beta4",
            "kind": "InitConfiguration",
            "bootstrapTokens": [{"token": TOKEN, "ttl": "1h0m0s"}],
            "nodeRegistration": {"name": node},
        }
        made = {
            "apiVersion": "kubeadm.k8s.io/v1beta4",
            "kind": "ClusterConfiguration",
            "kubernetesVersion": version,
            "controlPlaneEndpoint": self.endpoint,
            "networking": {"podSubnet": "10.244.0.0/16", "serviceSubnet": "10.96.0.0/16"},
            **cluster,
        }
        return yaml.safe_dump_all([init, made])

    def join_config(self, *, token: str = TOKEN, control_plane: bool = False, **registration: Any) -> str:
        """The text for kubeadm join."""
        discovery = {"token": token, "apiServerEndpoint": self.endpoint, "caCertHashes": [self.ca_hash]}
        join: dict[str, Any] = {
            "apiVersion": "kubeadm.k8s.io/v1beta4",
            "kind": "JoinConfiguration",
            "discovery": {"bootstrapToken": discovery},
            "nodeRegistration": registration,
        }
        return yaml.safe_dump({**join, "controlPlane": {}} if control_plane else join)

    def user_data(self) -> str:
        """The user-data that joins a worker as it boots."""
        path = "/etc/kubernetes/kubeadm-join.yaml"
        files = [{"path": path, "content": self.join_config(), "permissions": "0600"}]
        config = {"write_files": files, "runcmd": [["kubeadm", "join", "--config", path]]}
        return "#cloud-config\n" + yaml.safe_dump(config)

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, life: timedelta) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        authority_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=5))
            .not_valid_after(now + life)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(authority_key, critical=False)
        )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_encipherment=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
