"""kubeadm's v1beta4 configuration texts, read into what the sandbox needs of them. Pure.

Source: https://kubernetes.io/docs/reference/config-api/kubeadm-config.v1beta4/
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from caravan_sandbox.yamltext import load_mappings

API_VERSION = "kubeadm.k8s.io/v1beta4"
DEFAULT_TOKEN_TTL_S = 24 * 3600.0
CONTROL_PLANE_TAINT = {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}

_TOKEN = re.compile(r"^([a-z0-9]{6})\.([a-z0-9]{16})$")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|s)")
_UNIT_S = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


class KubeadmConfigError(ValueError):
    """The configuration is not one that kubeadm would take; the message says what is wrong."""


@dataclass(frozen=True)
class Registration:
    """How a node introduces itself."""

    name: str | None
    labels: dict[str, str]
    taints: tuple[dict[str, str], ...] | None
    """None: kubeadm's default, which is a taint on control planes and none on workers."""


@dataclass(frozen=True)
class BootstrapToken:
    """A token that nodes may join with. `expires` wins over `ttl_s`; a ttl of 0 never expires."""

    token_id: str
    secret: str
    ttl_s: float
    expires: str | None
    groups: tuple[str, ...]


@dataclass(frozen=True)
class InitConfig:
    """What `kubeadm init` is asked to make."""

    version: str
    endpoint: str
    registration: Registration
    tokens: tuple[BootstrapToken, ...]
    service_cidr: str
    dns_domain: str
    external_etcd: tuple[str, ...]
    cert_sans: tuple[str, ...]


@dataclass(frozen=True)
class JoinConfig:
    """What `kubeadm join` is asked to do."""

    endpoint: str
    token: str
    ca_hashes: tuple[str, ...]
    skip_ca_verification: bool
    control_plane: bool
    registration: Registration


def parse_init(text: str) -> InitConfig:
    """InitConfiguration and ClusterConfiguration documents. Raises KubeadmConfigError."""
    documents = _by_kind(text)
    init, cluster = documents.get("InitConfiguration", {}), documents.get("ClusterConfiguration")
    if cluster is None:
        raise KubeadmConfigError("the ClusterConfiguration document is missing")
    networking = cluster.get("networking") or {}
    external = (cluster.get("etcd") or {}).get("external") or {}
    return InitConfig(
        version=_required(cluster, "kubernetesVersion").removeprefix("v"),
        endpoint=_host_port(_required(cluster, "controlPlaneEndpoint")),
        registration=_registration(init.get("nodeRegistration") or {}),
        tokens=tuple(_bootstrap_token(token) for token in init.get("bootstrapTokens") or ()),
        service_cidr=str(networking.get("serviceSubnet", "10.96.0.0/12")),
        dns_domain=str(networking.get("dnsDomain", "cluster.local")),
        external_etcd=tuple(str(endpoint) for endpoint in external.get("endpoints") or ()),
        cert_sans=tuple(str(san) for san in (cluster.get("apiServer") or {}).get("certSANs") or ()),
    )


@lru_cache(maxsize=256)  # a thousand machines boot with one text
def parse_join(text: str) -> JoinConfig:
    """A JoinConfiguration document. Raises KubeadmConfigError."""
    join = _by_kind(text).get("JoinConfiguration")
    if join is None:
        raise KubeadmConfigError("the JoinConfiguration document is missing")
    discovery = join.get("discovery") or {}
    by_token = discovery.get("bootstrapToken")
    if not isinstance(by_token, dict):
        raise KubeadmConfigError("discovery.bootstrapToken is missing (the sandbox knows no discovery file)")
    hashes = tuple(str(ca_hash) for ca_hash in by_token.get("caCertHashes") or ())
    skip = bool(by_token.get("unsafeSkipCAVerification"))
    if not hashes and not skip:
        raise KubeadmConfigError("discovery.bootstrapToken.caCertHashes is missing")
    token = str(discovery.get("tlsBootstrapToken") or _required(by_token, "token"))
    return JoinConfig(
        endpoint=_host_port(_required(by_token, "apiServerEndpoint")),
        token=".".join(split_token(token)),
        ca_hashes=hashes,
        skip_ca_verification=skip,
        control_plane="controlPlane" in join,
        registration=_registration(join.get("nodeRegistration") or {}),
    )


def split_token(token: str) -> tuple[str, str]:
    """The id and the secret of a bootstrap token. Raises KubeadmConfigError."""
    match = _TOKEN.match(token)
    if not match:
        raise KubeadmConfigError("a bootstrap token has to look like abcdef.0123456789abcdef")
    return match[1], match[2]


def duration_s(text: str) -> float:
    """Seconds of a Go duration such as `24h0m0s`. Raises KubeadmConfigError."""
    if text == "0":
        return 0.0
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise KubeadmConfigError(f"{text!r} is not a duration such as 24h0m0s")
    return sum(float(number) * _UNIT_S[unit] for number, unit in parts)


def _by_kind(text: str) -> dict[str, dict[str, Any]]:
    try:
        documents = load_mappings(text)
    except ValueError as error:
        raise KubeadmConfigError(str(error)) from error
    for document in documents:
        version = str(document.get("apiVersion", ""))
        if version.startswith("kubeadm.k8s.io/") and version != API_VERSION:
            raise KubeadmConfigError(f"apiVersion {version} is not {API_VERSION}")
    return {str(document.get("kind")): document for document in documents}


def _required(mapping: dict[str, Any], name: str) -> str:
    value = mapping.get(name)
    if not value:
        raise KubeadmConfigError(f"{name} is missing")
    return str(value)


def _host_port(endpoint: str) -> str:
    host, separator, port = endpoint.rpartition(":")
    if not separator:
        return f"{endpoint}:6443"
    if not host or not port.isdigit():
        raise KubeadmConfigError(f"{endpoint!r} is not host:port")
    return endpoint


def _registration(fields: dict[str, Any]) -> Registration:
    args = fields.get("kubeletExtraArgs") or []
    if not isinstance(args, list):
        raise KubeadmConfigError("kubeletExtraArgs has to be a list of {name, value} in v1beta4")
    labels: dict[str, str] = {}
    for arg in args:
        if arg.get("name") == "node-labels":
            labels.update(_label(pair) for pair in str(arg.get("value", "")).split(",") if pair)
    taints = fields.get("taints")
    return Registration(
        name=str(fields["name"]) if fields.get("name") else None,
        labels=labels,
        taints=None if taints is None else tuple(dict(taint) for taint in taints),
    )


def _label(pair: str) -> tuple[str, str]:
    key, _, value = pair.partition("=")
    return key, value


def _bootstrap_token(fields: dict[str, Any]) -> BootstrapToken:
    token_id, secret = split_token(str(fields.get("token", "")))
    return BootstrapToken(
        token_id=token_id,
        secret=secret,
        ttl_s=duration_s(str(fields["ttl"])) if "ttl" in fields else DEFAULT_TOKEN_TTL_S,
        expires=str(fields["expires"]) if fields.get("expires") else None,
        groups=tuple(fields.get("groups") or ("system:bootstrappers:kubeadm:default-node-token",)),
    )
