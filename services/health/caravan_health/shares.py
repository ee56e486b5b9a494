"""Share the clusters out among the live replicas. Pure: rendezvous hashing.

Every replica computes the same answer from the same list, nobody is asked, and when a replica comes or goes only its
own share moves (Thaler and Ravishankar, "Using name-based mappings to increase hit rates", 1998).
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from hashlib import blake2b
from uuid import UUID


def live(beats: Iterable[tuple[str, datetime]], now: datetime, silent_after_s: float) -> tuple[str, ...]:
    """The replicas, sorted, whose last heartbeat is at most `silent_after_s` seconds old."""
    oldest = now - timedelta(seconds=silent_after_s)
    return tuple(sorted(replica for replica, beat_at in beats if beat_at >= oldest))


def owner(cluster_id: UUID, replicas: Iterable[str]) -> str:
    """The one replica that watches this cluster; `replicas` must not be empty."""
    return max(replicas, key=lambda replica: (_weight(cluster_id, replica), replica))


def second(cluster_id: UUID, replicas: Iterable[str], first: str) -> str | None:
    """Whom `first` asks for a second look at this cluster: who would take it over. None where nobody else lives."""
    others = [replica for replica in replicas if replica != first]
    return owner(cluster_id, others) if others else None


def share_of(replica: str, clusters: Iterable[UUID], replicas: tuple[str, ...]) -> set[UUID]:
    """The clusters that `replica` watches; none if it is not among the live `replicas`."""
    if replica not in replicas:
        return set()
    return {cluster_id for cluster_id in clusters if owner(cluster_id, replicas) == replica}


def _weight(cluster_id: UUID, replica: str) -> bytes:
    return blake2b(replica.encode(), key=cluster_id.bytes, digest_size=8).digest()
