"""What can go wrong here, beside the plain `Retry` and `GiveUp` of every service.

CaravanError
├── Retry
│   ├── NotYet               the cluster is not far enough for what was asked
│   ├── ClusterUnreachable   its kube-apiserver did not answer
│   └── ZoneUnreachable      the zone server did not answer, or asks for another try
└── GiveUp
    ├── NoSuchCluster        never requested here, or already deleted
    ├── NoSuchGrant          revoking what was never granted
    ├── RevokedMeanwhile     the asker's access was revoked while more was being made
    ├── RefusedUser          a user name that must not be in a certificate
    ├── RefusedLifetime      a lifetime that is none
    ├── ClusterRefused       its kube-apiserver does not let us grant access
    ├── NameTaken            the zone holds a record of that name that is not ours
    └── ZoneRefused          the zone server says no, and will go on saying it
"""

from uuid import UUID

from caravan_shared.contracts.facts import WhoCanFix
from caravan_shared.plumbing.errors import GiveUp, Retry


class NotYet(Retry):
    """The cluster is not far enough for what was asked."""


class ClusterUnreachable(Retry):
    """The cluster's kube-apiserver did not answer."""

    def __init__(self, host: str, why: str) -> None:
        super().__init__(f"the kube-apiserver of {host} can't be reached: {why}", after=2.0)
        self.host = host


class ZoneUnreachable(Retry):
    """The zone server did not answer, or asks for another try."""

    def __init__(self, server: str, why: str) -> None:
        super().__init__(f"the zone server {server} can't be reached: {why}", after=2.0)
        self.server = server


class NoSuchCluster(GiveUp):
    """The cluster was never requested here, or is being deleted."""

    def __init__(self, cluster_id: UUID) -> None:
        super().__init__(f"cluster {cluster_id} is deleted or being deleted", who_can_fix=WhoCanFix.USER)
        self.cluster_id = cluster_id


class NoSuchGrant(GiveUp):
    """Someone revokes what was never granted on this cluster."""

    def __init__(self, grant_id: UUID) -> None:
        super().__init__(f"this cluster has no grant {grant_id}", who_can_fix=WhoCanFix.USER)
        self.grant_id = grant_id


class RevokedMeanwhile(GiveUp):
    """All access of the asker was revoked while this one was being made."""

    def __init__(self) -> None:
        super().__init__("your access was revoked while this one was being made", who_can_fix=WhoCanFix.USER)


class RefusedUser(GiveUp):
    """A user name that must not be in a certificate."""

    def __init__(self, why: str) -> None:
        super().__init__(f"this user name can't be granted access: {why}", who_can_fix=WhoCanFix.USER)


class RefusedLifetime(GiveUp):
    """A lifetime that is none."""

    def __init__(self, ttl_s: int) -> None:
        super().__init__(f"a kubeconfig can't be valid for {ttl_s} s: ask for 1 s or more", who_can_fix=WhoCanFix.USER)
        self.ttl_s = ttl_s


class ClusterRefused(GiveUp):
    """The cluster's kube-apiserver does not let us grant access."""

    def __init__(self, host: str, status: int, message: str) -> None:
        super().__init__(
            f"the kube-apiserver of {host} refused with {status}: {message}", who_can_fix=WhoCanFix.OPERATOR
        )
        self.host, self.status = host, status


class NameTaken(GiveUp):
    """The zone holds a record of that name that is not this cluster's; it is left as it is."""

    def __init__(self, name: str, owner: str) -> None:
        super().__init__(
            f"the zone already has a record {name} that belongs to {owner}: remove it or choose another cluster name",
            who_can_fix=WhoCanFix.OPERATOR,
        )
        self.name, self.owner = name, owner


class ZoneRefused(GiveUp):
    """The zone server says no, and will go on saying it."""

    def __init__(self, server: str, why: str) -> None:
        super().__init__(f"the zone server {server} refused: {why}", who_can_fix=WhoCanFix.OPERATOR)
        self.server = server
