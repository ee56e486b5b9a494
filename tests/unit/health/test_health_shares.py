"""Clusters shared out among replicas."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from caravan_health.shares import live, owner, second, share_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CLUSTERS = [UUID(int=number) for number in range(3000)]
replica_sets = st.sets(st.text("abcdef-0123", min_size=1, max_size=8), min_size=1, max_size=6)


@given(replica_sets)
@settings(max_examples=50)
def test_every_cluster_has_exactly_one_watcher(replicas: set[str]) -> None:
    whole = tuple(sorted(replicas))
    shares = [share_of(replica, CLUSTERS[:50], whole) for replica in whole]
    assert sum(map(len, shares)) == 50
    assert set().union(*shares) == set(CLUSTERS[:50])


@given(replica_sets, st.uuids())
@settings(max_examples=100)
def test_leaving_replica_moves_only_its_own_clusters(replicas: set[str], cluster_id: UUID) -> None:
    before = owner(cluster_id, sorted(replicas))
    for gone in replicas - {before}:
        assert owner(cluster_id, sorted(replicas - {gone})) == before


def test_shares_are_even() -> None:
    counts = Counter(owner(cluster_id, ("a", "b", "c")) for cluster_id in CLUSTERS)
    assert all(850 < count < 1150 for count in counts.values())


def test_silent_replica_is_not_live() -> None:
    beats = [("b", NOW), ("a", NOW - timedelta(seconds=7)), ("c", NOW - timedelta(seconds=9))]
    assert live(beats, NOW, silent_after_s=8) == ("a", "b")


@given(replica_sets, st.uuids())
@settings(max_examples=50)
def test_second_look_is_asked_of_whoever_would_take_the_cluster_over(replicas: set[str], cluster_id: UUID) -> None:
    first = owner(cluster_id, replicas)
    others = replicas - {first}
    assert second(cluster_id, replicas, first) == (owner(cluster_id, others) if others else None)


def test_replica_that_is_not_live_itself_watches_nothing() -> None:
    assert share_of("zombie", CLUSTERS, ("a", "b")) == set()
