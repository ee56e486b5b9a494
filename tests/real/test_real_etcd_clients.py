"""Each etcd of an etcd node opens to its own clients: what Cilium's agents hold, on every node, opens no other."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from caravan_cli.up.clouds import filled_mirror
from caravan_cli.up.errors import StackError

pytestmark = pytest.mark.real
TEMPLATE = Path(__file__).parents[2] / "playbooks/roles/linux/templates/etcd.yaml.j2"
ADDRESS = "127.77.0.1"  # loopback, and nobody else's
CLIENTS = {"main": 2379, "events": 2389, "cilium": 2399}
ANSWERS_WITHIN_S = 60


@pytest.fixture(scope="module")
def binaries() -> Path:
    """The folder of etcd and etcdctl."""
    try:
        mirror = Path(os.environ.get("CARAVAN_MIRROR") or filled_mirror())
    except StackError as error:
        pytest.skip(f"ETCD'S CLIENTS ARE NOT TESTED HERE: {error}")
    found = list(mirror.glob("etcd/*/etcdctl"))
    if not found:
        pytest.skip(f"ETCD'S CLIENTS ARE NOT TESTED HERE: {mirror} lacks etcd; `make artifacts` makes it")
    return found[0].parent


class Authority:
    """The etcd authority of a cluster."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "etcd-ca")])
        ca = self._builder(self._name, self._key).add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        (folder / "ca.crt").write_bytes(ca.sign(self._key, SHA256()).public_bytes(Encoding.PEM))

    def sign(self, file: str, name: str) -> None:
        """Write `<file>.crt` and `<file>.key` for a common name."""
        key = ec.generate_private_key(ec.SECP256R1())
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
        addresses = [x509.IPAddress(ip_address(each)) for each in (ADDRESS, "127.0.0.1")]
        certificate = (
            self._builder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), key)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(x509.SubjectAlternativeName(addresses), critical=False)
            .sign(self._key, SHA256())
        )
        (self._folder / f"{file}.crt").write_bytes(certificate.public_bytes(Encoding.PEM))
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (self._folder / f"{file}.key").write_bytes(pem)

    def _builder(self, name: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=5))
            .not_valid_after(now + timedelta(days=1))
        )


@pytest.fixture(scope="module")
def node(binaries: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of certificates of an etcd node whose three etcds run as the playbooks configure them."""
    folder = tmp_path_factory.mktemp("etcd-node")
    authority = Authority(folder)
    names = {
        "server": "etcd-1",
        "peer": "etcd-1",
        "main": "kube-apiserver-etcd-client",
        "events": "kube-apiserver-etcd-client",
        "cilium": "cilium-etcd-client",
        "check": "kube-etcd-healthcheck-client",
        "stranger": "someone",
    }
    for file, name in names.items():
        authority.sign(file, name)
    running = [subprocess.Popen([binaries / "etcd", "--config-file", each]) for each in _configurations(folder)]
    yield folder
    for each in running:
        each.terminate()
    for each in running:
        each.wait(30)


def _configurations(folder: Path) -> list[Path]:
    """The role's own configurations, rendered by Ansible, with this folder for a machine's root."""
    variables = {
        "caravan_tuning": {"separate_events_etcd": True, "cilium_etcd": True},
        "caravan_etcd_names": ["etcd-1"],
        "caravan_etcd_members": [ADDRESS],
        "kubeadm_cluster": "test",
        "kubeadm_node": "etcd-1",
        "ansible_host": ADDRESS,
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
    }
    rendered = folder / "node.yaml"
    task = ["--module-name", "template", "--args", f"src={TEMPLATE} dest={rendered}"]
    ansible = [
        str(Path(sys.executable).with_name("ansible")),
        "localhost",
        "--extra-vars",
        json.dumps(variables),
        *task,
    ]
    subprocess.run(ansible, check=True, capture_output=True)
    files = []
    for each in yaml.safe_load(rendered.read_text())["files"]:
        if each["path"].startswith("/etc/etcd/"):
            content = each["content"].replace("/etc/kubernetes/pki/etcd", str(folder))
            content = content.replace("/var/lib/", f"{folder}/data-")
            # Its second listener is for the machine itself, and this one may have an etcd of its own.
            content = content.replace(",https://127.0.0.1:", ",https://127.77.0.2:")
            files.append(folder / Path(each["path"]).name)
            files[-1].write_text(content)
    return files


def opens(binaries: Path, folder: Path, client: str, port: int) -> bool:
    """Whether a client may read from the etcd at a port."""
    files = [f"--cacert={folder}/ca.crt", f"--cert={folder}/{client}.crt", f"--key={folder}/{client}.key"]
    command: list[str | Path] = [
        binaries / "etcdctl",
        f"--endpoints=https://{ADDRESS}:{port}",
        "--command-timeout=3s",
        *files,
        "get",
        "x",
    ]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("etcd", CLIENTS)
def test_each_etcd_opens_to_its_own_clients_alone(binaries: Path, node: Path, etcd: str) -> None:
    until = time.monotonic() + ANSWERS_WITHIN_S
    while not opens(binaries, node, "check", CLIENTS[etcd]):
        assert time.monotonic() < until, f"the etcd for {etcd} never answered"
    own = {"main", "events"} if etcd != "cilium" else {"cilium"}
    may = {
        client for client in ("main", "events", "cilium", "stranger") if opens(binaries, node, client, CLIENTS[etcd])
    }
    assert may == own
