"""A real kube-apiserver on a real etcd, plain processes on loopback, from a mirror's files: no node, no controller.

What it stores it has validated, which is all that a test of manifests asks of it.
"""

import json
import shutil
import ssl
import subprocess
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import socket

TOKEN = "of-a-test"
READY_WITHIN_S = 120


def missing(mirror: Path, version: str) -> list[str]:
    """Which of the files that `running` needs are not in the mirror."""
    wanted = [_image(mirror, version), mirror / "etcd"]
    return [str(path.relative_to(mirror)) for path in wanted if not path.exists()]


@contextmanager
def running(mirror: Path, version: str, folder: Path) -> Iterator[Path]:
    """The kubeconfig of an administrator, once the server is ready. `version` is such as 1.34.2."""
    (etcd_binary,) = mirror.glob("etcd/*/etcd")
    apiserver_binary = _from_image(_image(mirror, version), "usr/local/bin/kube-apiserver", folder / "kube-apiserver")
    client, peer, secure = _free_ports(3)
    (folder / "tokens.csv").write_text(f'{TOKEN},admin,admin,"system:masters"\n')
    etcd: list[str | Path] = [
        etcd_binary,
        f"--data-dir={folder}/etcd",
        f"--listen-client-urls=http://127.0.0.1:{client}",
        f"--advertise-client-urls=http://127.0.0.1:{client}",
        f"--listen-peer-urls=http://127.0.0.1:{peer}",
        "--unsafe-no-fsync",
    ]
    apiserver: list[str | Path] = [
        apiserver_binary,
        f"--etcd-servers=http://127.0.0.1:{client}",
        f"--secure-port={secure}",
        "--bind-address=127.0.0.1",
        f"--cert-dir={folder}/certs",
        f"--token-auth-file={folder}/tokens.csv",
        "--authorization-mode=RBAC",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={folder}/certs/apiserver.key",
        f"--service-account-signing-key-file={folder}/certs/apiserver.key",
        "--service-cluster-ip-range=10.96.0.0/16",
        "--disable-admission-plugins=ServiceAccount",
        "--allow-privileged=true",
    ]
    with _process(etcd, folder / "etcd.log"), _process(apiserver, folder / "apiserver.log") as server:
        _wait_until_ready(f"https://127.0.0.1:{secure}/readyz", server, folder / "apiserver.log")
        yield _kubeconfig(folder, secure)


def _wait_until_ready(url: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    asked = urllib.request.Request(url, headers={"Authorization": f"Bearer {TOKEN}"})
    until = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < until and server.poll() is None:
        try:
            with urllib.request.urlopen(asked, timeout=5, context=context):
                return
        except (OSError, urllib.error.URLError):
            time.sleep(0.3)
    raise AssertionError(f"the kube-apiserver is not ready: {log.read_text()[-2000:]}")


def _kubeconfig(folder: Path, port: int) -> Path:
    cluster = {"server": f"https://127.0.0.1:{port}", "insecure-skip-tls-verify": True}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": "admin", "user": {"token": TOKEN}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
        "current-context": "test",
    }
    path = folder / "kubeconfig"
    path.touch(mode=0o600)
    path.write_text(json.dumps(config))
    return path


@contextmanager
def _process(command: list[str | Path], log: Path) -> "Iterator[subprocess.Popen[bytes]]":
    with log.open("wb") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


def _image(mirror: Path, version: str) -> Path:
    return mirror / "images" / f"kube-apiserver-v{version}.tar"


def _from_image(image: Path, path: str, target: Path) -> Path:
    """Take one file out of an OCI image layout of one layer."""
    with tarfile.open(image) as layout:
        index = _read(layout, "index.json")
        manifest = _read(layout, _blob(index["manifests"][0]["digest"]))
        layer = layout.extractfile(_blob(manifest["layers"][0]["digest"]))
        assert layer
        with tarfile.open(fileobj=layer) as files:
            content = files.extractfile(path)
            assert content
            with target.open("wb") as file:
                shutil.copyfileobj(content, file)
    target.chmod(0o755)
    return target


def _read(layout: tarfile.TarFile, name: str) -> "dict[str, list[dict[str, str]]]":
    content = layout.extractfile(name)
    assert content
    read: dict[str, list[dict[str, str]]] = json.load(content)
    return read


def _blob(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _free_ports(count: int) -> list[int]:
    sockets = [socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
