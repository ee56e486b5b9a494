"""Wait until a cluster is as it was asked to be, and show how it gets there.

The stream of events wakes us; what counts is always the whole cluster as the API tells it, so a missed one
costs nothing.
"""

import time
from collections.abc import Callable, Iterator

from caravan_cli.client import Client
from caravan_cli.errors import CliError, NotFound, Problem, TimedOut, Unavailable
from caravan_cli.progress import Progress
from caravan_cli.sse import follow
from caravan_cli.views import Cluster, TimelineEntry
from caravan_shared.contracts.states import ClusterPhase, Verdict

LOOK_EVERY_S = 10.0  # of silence on the stream, then ask: a proxy may hold events back
NAME_POLL_S = 0.1  # the api frees the name right after the last fact; no event tells of it

Change = Cluster | TimelineEntry


class ClusterFailed(CliError):
    """A service gave up on the cluster."""

    def __init__(self, cluster: Cluster) -> None:
        failure = cluster.failure
        reason = failure.reason if failure else "the API names no reason"
        problem = Problem(
            title=f"Cluster {cluster.name} failed",
            detail=reason,
            who_can_fix=failure.who_can_fix if failure else None,
            retry_helps=failure.retry_helps if failure else None,
        )
        super().__init__(f"Cluster {cluster.name} failed: {reason}", problem=problem)


class ClusterPaused(CliError):
    """Nothing will happen for as long as the cluster is paused."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(f"Cluster {cluster.name} is paused. Go on with: caravan cluster resume {cluster.name}")


def changes(client: Client, name: str, *, deadline: float) -> Iterator[Change]:
    """The cluster now, then every change of it and entry of its timeline. NotFound once it is gone.

    `deadline` is in seconds of `time.monotonic`; past it, TimedOut at the next sign of life or after `LOOK_EVERY_S`.
    """
    silence_s = max(0.1, min(LOOK_EVERY_S, deadline - time.monotonic()))
    for event in follow(client.stream(name, silence_s=silence_s)):
        if event is None:
            try:
                yield client.cluster(name)
            except Unavailable:
                if time.monotonic() > deadline:
                    raise
        elif event.type == "cluster":
            yield Cluster.model_validate_json(event.data)
        elif event.type == "timeline":
            yield TimelineEntry.model_validate_json(event.data)
        if time.monotonic() > deadline:
            raise TimedOut(f"Cluster {name} is not there yet, and --timeout has passed. The work goes on.")


def until_settled(client: Client, wanted: Cluster, progress: Progress, *, timeout_s: float) -> Cluster:
    """Wait until the cluster is Ready at the wanted generation or a later one. ClusterFailed, TimedOut."""
    return _until(client, wanted, progress, lambda cluster: _settled(cluster, wanted), timeout_s=timeout_s)


def until_healthy(client: Client, wanted: Cluster, progress: Progress, *, timeout_s: float) -> Cluster:
    """Wait until the cluster is Ready as in `until_settled`, and health says Healthy."""

    def healthy(cluster: Cluster) -> bool:
        verdict = cluster.health.verdict if cluster.health else Verdict.UNKNOWN
        return _settled(cluster, wanted) and verdict == Verdict.HEALTHY and cluster.nodes.ready == cluster.nodes.wanted

    return _until(client, wanted, progress, healthy, timeout_s=timeout_s)


def until_asleep(client: Client, wanted: Cluster, progress: Progress, *, timeout_s: float) -> Cluster:
    """Wait until all machines of the cluster are stopped. ClusterFailed, TimedOut."""

    def asleep(cluster: Cluster) -> bool:
        if cluster.phase is ClusterPhase.FAILED:
            raise ClusterFailed(cluster)
        if not cluster.asleep or cluster.phase in {ClusterPhase.DELETING, ClusterPhase.DELETED}:
            raise CliError(f"Cluster {cluster.name} is to sleep no more: it is {cluster.phase}.")
        return cluster.phase is ClusterPhase.HIBERNATED

    return _until(client, wanted, progress, asleep, timeout_s=timeout_s)


def until_deleted(client: Client, wanted: Cluster, progress: Progress, *, timeout_s: float) -> None:
    """Wait until nothing of the cluster is left and its name is free. TimedOut."""

    def deleted(cluster: Cluster) -> bool:
        return cluster.phase is ClusterPhase.DELETED

    deadline = time.monotonic() + timeout_s
    try:
        _until(client, wanted, progress, deleted, timeout_s=timeout_s)
        while client.cluster(wanted.name).id == wanted.id:
            if time.monotonic() > deadline:
                raise TimedOut(f"Cluster {wanted.name} is deleted, but its name is not free yet.")
            time.sleep(NAME_POLL_S)
    except NotFound:
        return


def _settled(cluster: Cluster, wanted: Cluster) -> bool:
    if cluster.phase is ClusterPhase.FAILED and cluster.generation >= wanted.generation:
        raise ClusterFailed(cluster)
    if cluster.paused and not cluster.settled(wanted.generation):
        raise ClusterPaused(cluster)
    if cluster.phase in {ClusterPhase.DELETING, ClusterPhase.DELETED}:
        raise CliError(f"Cluster {cluster.name} is being deleted.")
    if cluster.asleep:
        raise CliError(f"Cluster {cluster.name} is asleep. Go on with: caravan cluster wake {cluster.name}")
    return cluster.settled(wanted.generation)


def _until(
    client: Client, wanted: Cluster, progress: Progress, reached: Callable[[Cluster], bool], *, timeout_s: float
) -> Cluster:
    # By id: while the old one is deleted, another cluster may already have the name.
    with progress:
        for change in changes(client, wanted.id, deadline=time.monotonic() + timeout_s):
            if isinstance(change, TimelineEntry):
                progress.happened(change)
            else:
                progress.now(change)
                if reached(change):
                    return change
    raise AssertionError("the stream of changes has no end")
