"""A grant's ClusterRoleBinding in its cluster: made, and taken away. The only file that talks to kube-apiservers.

Kubernetes cannot revoke a certificate, so a grant's certificate has no rights of its own: its group, which no other
certificate has, is bound to a role, and what is revoked is the binding.
Plain aiohttp: for two calls the kubernetes client would cost a second of start-up and 20 MiB.
"""

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from tempfile import NamedTemporaryFile
from typing import Any
from uuid import UUID

import aiohttp

from caravan_dns.authority import KeyPair
from caravan_dns.errors import ClusterRefused, ClusterUnreachable
from caravan_dns.kubeconfigs import Endpoint

ADDRESS_TIMEOUT_S = 3.0
"""For one address: another one may answer."""
TIMEOUT_S = 8.0
"""For all of them: the asker waits 10 s for our reply."""

CLUSTER_ROLES: Mapping[str, str] = {"viewer": "view", "editor": "edit", "admin": "cluster-admin"}
"""Our role → the ClusterRole that every Kubernetes cluster has for it."""

_PATH = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
_TEMPORARY = (408, 425, 429)


@dataclass(frozen=True)
class Access:
    """How to talk to one cluster as its administrator."""

    endpoint: Endpoint
    ca_certificate: str
    client: KeyPair


def group_of(grant_id: UUID) -> str:
    """The Kubernetes group that only this grant's certificate is in."""
    return f"caravan:grant:{grant_id}"


async def bind(access: Access, grant_id: UUID, role: str) -> None:
    """Give the grant's group its role; having it already is fine. Raises ClusterUnreachable, ClusterRefused."""
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": _name(grant_id), "labels": {"app.kubernetes.io/managed-by": "caravan"}},
        "subjects": [{"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": group_of(grant_id)}],
        "roleRef": {"kind": "ClusterRole", "apiGroup": "rbac.authorization.k8s.io", "name": CLUSTER_ROLES[role]},
    }
    await _call(access, "POST", _PATH, binding, fine=(200, 201, 409))


async def unbind(access: Access, grant_id: UUID) -> None:
    """Take the role away; having none is fine. Raises ClusterUnreachable, ClusterRefused."""
    await _call(access, "DELETE", f"{_PATH}/{_name(grant_id)}", None, fine=(200, 202, 404))


def _name(grant_id: UUID) -> str:
    return f"caravan-grant-{grant_id}"


async def _call(access: Access, method: str, path: str, body: dict[str, Any] | None, fine: tuple[int, ...]) -> None:
    """Ask one address after the other until one answers."""
    host, why = access.endpoint.host, "it has no address yet"
    deadline = asyncio.get_running_loop().time() + TIMEOUT_S
    connector = aiohttp.TCPConnector(ssl=_tls(access))
    async with aiohttp.ClientSession(connector=connector) as session:
        for url in access.endpoint.urls(path):
            try:
                async with (
                    asyncio.timeout_at(min(deadline, asyncio.get_running_loop().time() + ADDRESS_TIMEOUT_S)),
                    session.request(method, url, json=body, server_hostname=host) as response,
                ):
                    status, text = response.status, await response.text()
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                why = str(error) or type(error).__name__
                continue
            if status in fine:
                return
            if status < 500 and status not in _TEMPORARY:
                raise ClusterRefused(host, status, text[:200])
            why = f"it answers {status}"
    raise ClusterUnreachable(host, why)


def _tls(access: Access) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=access.ca_certificate)
    # Python's ssl reads client certificates from files only. This one is ours alone (0600), short-lived, gone at once.
    with NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(access.client.public + access.client.key)
        file.flush()
        context.load_cert_chain(file.name)
    return context
