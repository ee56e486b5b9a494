"""Kubeconfigs of leased clusters: the first one, and when the next is due. They live for hours, leases up to weeks."""

import time
from dataclasses import dataclass
from pathlib import Path

from caravan_cli.client import Client
from caravan_cli.errors import Unavailable
from caravan_cli.kubeconfigs import LONGEST_S, SHORTEST_S, AccessRole
from caravan_cli.private_files import write_private
from caravan_cli.views import Kubeconfig, Lease, TakenLease

ISSUE_PAUSES_S = (1.0, 3.0)  # a cluster was given up for this lease: a restart somewhere is no reason to lose it
RENEW_AT = 0.75  # of its lifetime: what is left bridges an API that is away
RENEW_AGAIN = 0.05  # of its lifetime, after a renewal that failed


@dataclass(frozen=True)
class Access:
    """A kubeconfig that was issued `at` a moment (seconds of `time.monotonic`) for `lifetime_s`."""

    issued: Kubeconfig
    lifetime_s: float
    at: float

    def write(self, file: Path) -> None:
        """Write it where its owner alone can read it. UsageProblem where that cannot be."""
        write_private(file, self.issued.kubeconfig)


def first(api: Client, taken: TakenLease, role: AccessRole) -> Access:
    """The kubeconfig that came with the lease, else one that is asked for now, and again if that fails."""
    lifetime_s = _lifetime_s(taken.lasts_s)
    if taken.kubeconfig:
        return Access(taken.kubeconfig, lifetime_s, time.monotonic())
    for pause_s in ISSUE_PAUSES_S:
        try:
            return _issued(api, taken, role, lifetime_s)
        except Unavailable:
            time.sleep(pause_s)
    return _issued(api, taken, role, lifetime_s)


def renewed(api: Client, lease: Lease, role: AccessRole, old: Access) -> Access:
    """The next kubeconfig, for as long as the lease lasts if it may be."""
    assert lease.ends_at is not None, "a lease that is held has an end"
    # By the API's clock alone: ours may go wrong by more than a kubeconfig's life.
    left_s = (lease.ends_at - old.issued.expires_at).total_seconds() + (1 - RENEW_AT) * old.lifetime_s
    return _issued(api, lease, role, _lifetime_s(left_s))


def renewal_due_at(lease: Lease, access: Access) -> float | None:
    """When to ask for the next one, in seconds of `time.monotonic`; None where this one outlives the lease."""
    if lease.ends_at is None or lease.ends_at <= access.issued.expires_at:
        return None
    return access.at + RENEW_AT * access.lifetime_s


def _issued(api: Client, lease: Lease, role: AccessRole, lifetime_s: int) -> Access:
    assert lease.cluster_id is not None, "a lease that is held has a cluster"
    issued = api.kubeconfig(lease.cluster_id, role=role, ttl_s=lifetime_s)
    return Access(issued, lifetime_s, time.monotonic())


def _lifetime_s(wanted_s: float) -> int:
    return max(SHORTEST_S, min(int(wanted_s), LONGEST_S))
