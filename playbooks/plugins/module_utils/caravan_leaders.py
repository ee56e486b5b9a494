"""See whether somebody carries out what is asked of a cluster: its controller manager and its scheduler each lead.

Leaders renew their leases every few seconds. Only that a lease changes is looked at, never its time: the leader's
clock may be another one than ours.
"""

from __future__ import annotations

from typing import Any, Callable

LEASES = ("kube-controller-manager", "kube-scheduler")

Get = Callable[..., Any]
"""`Kubectl.get`."""


class Leaders:
    """What was seen of the leases at the first look."""

    def __init__(self, get: Get) -> None:
        self._get = get
        self._first: dict[str, str] | None = None

    def are_at_work(self) -> bool:
        """Whether every lease has been renewed since the first look."""
        renewed = {name: self._renewed(name) for name in LEASES}
        if self._first is None:
            self._first = renewed
        return all(at and at != self._first[name] for name, at in renewed.items())

    def _renewed(self, name: str) -> str:
        lease = self._get("lease", name, "--namespace", "kube-system") or {}
        return str(lease.get("spec", {}).get("renewTime") or "")
