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
    """At least one, unless the name resolves."""
    resolvable: bool
    """False where only Caravan's own server knows the name: then an address is dialled under that name."""

    def urls(self, path: str = "") -> list[str]:
        """`https://<address>:<port><path>` for every address."""
        bracketed = (f"[{address}]" if ":" in address else address for address in self.addresses)
        return [f"https://{address}:{self.port}{path}" for address in bracketed]


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
    return {"server": endpoint.urls()[0], "tls-server-name": endpoint.host}


def _inline(field: str, pem: str) -> dict[str, str]:
    return {f"{field}-data": b64encode(pem.encode()).decode()}
