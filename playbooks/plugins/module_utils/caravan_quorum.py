"""Whether an etcd cluster survives that a member leaves it. Pure.

etcd commits with the agreement of more than half of its voting members (https://etcd.io/docs/latest/faq/). Removing a
member is itself such a decision, and afterwards the smaller cluster needs its own majority.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Member:
    """One member as etcd lists it. `name` is empty until it has started for the first time."""

    id: int
    name: str
    peer_urls: tuple[str, ...]
    client_urls: tuple[str, ...]
    votes: bool
    healthy: bool

    @property
    def hex_id(self) -> str:
        """The id as etcdctl takes it."""
        return f"{self.id:x}"

    @property
    def label(self) -> str:
        """What to call it: its name, or its address while it has none."""
        return self.name or ", ".join(self.peer_urls)


def find(members: list[Member], name: str, address: str) -> Member | None:
    """The member of the node of this name or address."""
    by_name = next((m for m in members if m.name == name), None)
    return by_name or next((m for m in members if address and address in map(_host, m.peer_urls)), None)


def objection(members: list[Member], leaving: Member) -> str | None:
    """Why this member must not be removed; None where it may."""
    if not leaving.votes:
        return None
    voters = [member for member in members if member.votes]
    staying = [member for member in voters if member is not leaving]
    if not staying:
        return f"{leaving.label} is the only etcd member: without it the cluster's data is gone"
    if not _is_quorum(voters):
        return (
            f"etcd has no quorum: {_health(voters)}. It cannot let {leaving.label} go; start the others again, or "
            "restore from a backup"
        )
    if not _is_quorum(staying):
        return (
            f"without {leaving.label} etcd would have no quorum: {_health(staying)}. Start those that are down again, "
            "or remove them first"
        )
    return None


def _is_quorum(members: list[Member]) -> bool:
    return sum(member.healthy for member in members) > len(members) // 2


def _health(members: list[Member]) -> str:
    down = ", ".join(member.label for member in members if not member.healthy)
    return f"{sum(m.healthy for m in members)} of {len(members)} members healthy" + (f" ({down} not)" if down else "")


def _host(url: str) -> str:
    return urlsplit(url).hostname or ""
