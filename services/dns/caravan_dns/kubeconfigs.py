"""Render a kubeconfig: one cluster, one user, one context, everything inline. Pure.

The form is https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/. Written by a YAML dumper, so that a name is
data wherever it came from.
"""

from base64 import b64encode
from dataclasses import dataclass

import yaml

from caravan_dns.authority import KeyPair


@dataclass(frozen=True)
class Endpoint:
    """How a kube-apiserver is reached by someone outside."""

    host: str
    """Its name, which its serving certificate carries."""
    port: int
    addresses: tuple[str, ...]
    """Its control planes; at least one, unless the name resolves."""
    resolvable: bool
    """False where only Caravan's own server knows the name: then an address is dialled under that name."""
    virtual_ip: str | None = None
    """The address that one of them carries, where they share one."""

    def urls(self, path: str = "") -> list[str]:
        """`https://<address>:<port><path>` for every control plane."""
        return [f"{self._url(address)}{path}" for address in self.addresses]

    def handed_out(self) -> str:
        """The URL for someone whose resolver does not know the name: the address that lasts longest."""
        return self._url(self.virtual_ip or self.addresses[0])

    def _url(self, address: str) -> str:
        return f"https://[{address}]:{self.port}" if ":" in address else f"https://{address}:{self.port}"


def render(cluster: str, user: str, endpoint: Endpoint, ca_certificate: str, client: KeyPair) -> str:
    """A kubeconfig as YAML text, ready for `kubectl --kubeconfig`. Holds the client's private key."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": cluster, "cluster": _reached(endpoint) | _inline("certificate-authority", ca_certificate)}
        ],
        "users": [
            {
                "name": user,
                "user": _inline("client-certificate", client.public) | _inline("client-key", client.key),
            }
        ],
        "contexts": [{"name": cluster, "context": {"cluster": cluster, "user": user}}],
        "current-context": cluster,
    }
    return yaml.safe_dump(config, sort_keys=False, width=10_000)  # base64 stays on one line, as kubectl writes it


def _reached(endpoint: Endpoint) -> dict[str, str]:
    if endpoint.resolvable:
        return {"server": f"https://{endpoint.host}:{endpoint.port}"}
    return {"server": endpoint.handed_out(), "tls-server-name": endpoint.host}


def _inline(field: str, pem: str) -> dict[str, str]:
    return {f"{field}-data": b64encode(pem.encode()).decode()}
