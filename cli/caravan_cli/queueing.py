"""Take a lease, waiting for it where no spare is ready, and give it back. What is given up on the way is given back.

The wait is a long poll of the lease itself: an API that restarts, or a proxy that cuts the call short, costs one look.
"""

import math
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from caravan_cli import durations, interrupts
from caravan_cli.client import Client, Json
from caravan_cli.errors import CliError, Refused, TimedOut, Unavailable
from caravan_cli.outcome import tell
from caravan_cli.render import say, stderr
from caravan_cli.views import Lease, TakenLease
from caravan_shared.contracts.states import LeaseState

LOOK_S = 30.0  # one long poll; the API allows 60, proxies often cut at 60
LEAST_PAUSE_S = 0.5  # between looks where one is answered at once although nothing changed
MOVED_S, MOVED_SHARE = 15.0, 0.25  # an estimate that moves by less is no news
RETURN_PAUSES_S = (2.0, 5.0)  # beside the client's own: longer than an api takes to restart


@dataclass(frozen=True)
class Place:
    """Where somebody stands in a queue, as told at a moment (`at`, seconds of `time.monotonic`)."""

    position: int | None
    estimate_s: float | None
    at: float


def wish(
    *,
    lasts_s: int | None = None,
    purpose: str | None = None,
    labels: Mapping[str, str] | None = None,
    heartbeat_s: int | None = None,
    kubeconfig: str | None = None,
    wait: bool = True,
) -> Json:
    """What to ask for, as the API takes it; what is None is the API's to choose."""
    asked = {
        "lasts_s": lasts_s,
        "purpose": purpose,
        "labels": dict(labels or {}),
        "heartbeat_s": heartbeat_s,
        "kubeconfig": kubeconfig,
        "wait": wait,
    }
    return {key: value for key, value in asked.items() if value is not None}


def take(api: Client, pool: str, wanted: Json, *, timeout_s: float) -> TakenLease:
    """A lease that is held. TimedOut, or an interrupt while it waits, gives it back."""
    deadline = time.monotonic() + timeout_s
    try:
        taken = api.take_lease(pool, wanted)
    except KeyboardInterrupt:
        tell("Whether a lease was taken is not known. Look with: caravan lease list --mine")
        raise
    if taken.state is LeaseState.HELD:
        return taken
    try:
        lease = _until_served(api, taken, deadline)
    except BaseException:
        give_back(api, taken)
        raise
    if lease.state is not LeaseState.HELD:
        raise CliError(f"Lease {lease.id} ended in the queue: {lease.end_reason}.")
    return TakenLease.model_validate(lease.model_dump())


def give_back(api: Client, lease: Lease, keep_s: int = 0) -> None:
    """Give a lease back, with its cluster kept for so long. Tries for about a minute, then warns; never raises."""
    # An impatient second Ctrl-C would leave a cluster running that nobody uses.
    with interrupts.handled_by(signal.SIG_IGN):
        try:
            tell(how_it_ended(_given_back(api, lease, keep_s)))
        except (CliError, ValidationError) as error:
            say(stderr(), f"Warning: lease {lease.id} could not be given back: {error}", style="bold red")
            tell(f"{_ends_by_itself(lease)} Give it back with: caravan lease return {lease.id}")


def how_it_ended(lease: Lease) -> str:
    """A sentence on a lease that was given back."""
    if lease.state is not LeaseState.KEPT:
        return f"Lease {lease.id} is over: {lease.end_reason}."
    return (
        f"Cluster {lease.cluster} is kept until {lease.until}. Look into it with: caravan cluster kubeconfig "
        f"{lease.cluster} --role admin -f kubeconfig, and end it with: caravan lease return {lease.id}"
    )


def is_news(told: Place | None, seen: Place) -> bool:
    """Whether a place differs so much from what was told last that a person wants to hear of it."""
    if told is None or told.position != seen.position:
        return True
    if told.estimate_s is None or seen.estimate_s is None:
        return (told.estimate_s is None) != (seen.estimate_s is None)
    if not (told.estimate_s or seen.estimate_s):
        return False  # overdue then and now
    moved_s = abs((seen.at + seen.estimate_s) - (told.at + told.estimate_s))
    return moved_s > max(MOVED_S, MOVED_SHARE * told.estimate_s)


def _until_served(api: Client, lease: Lease, deadline: float) -> Lease:
    """The lease once it waits no more; TimedOut past the deadline (seconds of `time.monotonic`)."""
    told: Place | None = None
    while lease.state is LeaseState.WAITING:
        told = _tell_place(lease, told)
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise TimedOut(f"No cluster of the pool {lease.pool} was free before --timeout passed.")
        lease = _looked_at(api, lease, math.ceil(min(LOOK_S, left_s)))
    return lease


def _looked_at(api: Client, lease: Lease, wait_s: int) -> Lease:
    """The lease as it is soon after it changed, or after `wait_s`."""
    began = time.monotonic()
    try:
        if lease.heartbeat_s:  # who is killed while it waits shall not be served
            api.heartbeat(lease.id)
        seen = api.lease(lease.id, wait_s=min(wait_s, lease.heartbeat_s or wait_s))
    except Unavailable:
        seen = lease  # its place in the queue outlasts an api that is away; the deadline bounds this
    if seen.state is LeaseState.WAITING:
        time.sleep(max(0.0, LEAST_PAUSE_S - (time.monotonic() - began)))
    return seen


def _tell_place(lease: Lease, told: Place | None) -> Place:
    """Say where it stands if that is news; what was told last."""
    seen = Place(lease.position, lease.estimate_s, time.monotonic())
    if told and not is_news(told, seen):
        return told
    tell(f"Waiting in the queue of the pool {lease.pool}: place {seen.position}, {_when(seen.estimate_s)}.")
    return seen


def _when(estimate_s: float | None) -> str:
    if estimate_s is None:
        return "and it cannot be told when it is your turn"
    return f"your turn in about {durations.text(estimate_s)}" if estimate_s >= 1 else "your turn any moment"


def _given_back(api: Client, lease: Lease, keep_s: int) -> Lease:
    for pause_s in (*RETURN_PAUSES_S, None):
        try:
            return api.return_lease(lease.id, keep_s=keep_s)
        except Refused as error:
            if not keep_s:
                raise
            tell(f"The cluster is not kept: {error}.")
            return _given_back(api, lease, 0)
        except CliError:
            if pause_s is None:
                raise
            time.sleep(pause_s)
    raise AssertionError("the last try returns or raises")


def _ends_by_itself(lease: Lease) -> str:
    if lease.heartbeat_s:
        return f"It ends by itself {durations.text(lease.heartbeat_s)} after its last heartbeat."
    return f"It ends by itself at {lease.until}." if lease.ends_at else "It still stands in the queue."
