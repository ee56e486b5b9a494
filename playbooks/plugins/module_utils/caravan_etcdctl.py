"""Ask and tell etcd, with etcdctl and the certificates that kubeadm's layout has on a control plane or an etcd node."""

from __future__ import annotations

import json
import os
from typing import Any

from ansible.module_utils.caravan_commands import CommandFailed, run
from ansible.module_utils.caravan_quorum import Member

LOCAL = "https://127.0.0.1:2379"
CA = "/etc/kubernetes/pki/etcd/ca.crt"
CLIENTS = (  # without suffix; an etcd node has the first, a control plane of an external etcd the second
    "/etc/kubernetes/pki/etcd/healthcheck-client",
    "/etc/kubernetes/pki/apiserver-etcd-client",
)
ANSWERS_WITHIN_S = 20  # a member list; healthy etcd needs milliseconds, an election a few seconds
DIAL_S = 3  # a member that takes no connection for so long counts as down


class Etcdctl:
    """An etcd cluster, by some of its endpoints (default: the member on this machine). Raises CommandFailed."""

    def __init__(self, endpoints: list[str] | None = None) -> None:
        self._endpoints = ",".join(endpoints or [LOCAL])
        self._client = next((c for c in CLIENTS if os.path.exists(c + ".crt")), CLIENTS[0])

    def members(self) -> list[Member]:
        """Every member with its health, dead ones included."""
        # As the asked member knows it (`s`erializable): an etcd without quorum would not answer otherwise.
        listed = json.loads(self.tell("member", "list", "--consistency", "s", "--write-out", "json"))["members"]
        healthy = self.healthy_endpoints()
        return [_member(raw, healthy) for raw in listed]

    def healthy_endpoints(self) -> set[str]:
        """Client URLs of the members that answer and see a leader."""
        try:
            answer = self.tell("endpoint", "health", "--cluster", "--write-out", "json")
        except CommandFailed as error:
            answer = error.said  # one dead member fails the command; the list stands in its output all the same
        lines = [line for line in answer.splitlines() if line.startswith("[{")]
        return {found["endpoint"] for line in lines[:1] for found in json.loads(line) if found["health"]}

    def remove(self, member: Member) -> None:
        """Take the member out; its process ends by itself."""
        self.tell("member", "remove", member.hex_id)

    def tell(self, *what: str, within_s: float = ANSWERS_WITHIN_S) -> str:
        """Any command."""
        certificates = ["--cacert", CA, "--cert", self._client + ".crt", "--key", self._client + ".key"]
        patience = ["--dial-timeout", f"{DIAL_S}s", "--command-timeout", f"{within_s:.0f}s"]
        return run(["etcdctl", *what, "--endpoints", self._endpoints, *certificates, *patience], within_s + DIAL_S)


def _member(raw: dict[str, Any], healthy: set[str]) -> Member:
    clients = tuple(raw.get("clientURLs") or ())
    return Member(
        id=int(raw["ID"]),
        name=raw.get("name", ""),
        peer_urls=tuple(raw.get("peerURLs") or ()),
        client_urls=clients,
        votes=not raw.get("isLearner", False),
        healthy=any(url in healthy for url in clients),
    )
