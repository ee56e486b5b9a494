"""The tables of teams and their members."""

from datetime import datetime
from enum import StrEnum

from sqlmodel import Field

from caravan_api.store import Table
from caravan_shared.plumbing.database import UtcDateTime


class MemberKind(StrEnum):
    """What a member is."""

    USER = "user"
    """A person."""
    GROUP = "group"
    """Everybody of whom the identity provider says that they are in it."""
    SERVICE = "service-account"
    """A job or a program."""


class Team(Table, table=True):
    """The tenant that owns clusters, pools and grants. Its quota counts what is wanted now; None is no limit."""

    name: str = Field(primary_key=True)
    created_by: str
    created_at: datetime = Field(sa_type=UtcDateTime)
    max_clusters: int | None = None
    max_nodes: int | None = None
    max_leases: int | None = None

    @property
    def has_quota(self) -> bool:
        """True if anything of it is limited."""
        return any(limit is not None for limit in (self.max_clusters, self.max_nodes, self.max_leases))


class Member(Table, table=True):
    """Somebody's place in a team."""

    team: str = Field(primary_key=True)
    kind: str = Field(primary_key=True)
    user: str = Field(primary_key=True, index=True)
    """As callers are named: a person's name, a group's, `service:<team>/<name>`."""
    role: str
    added_by: str
    added_at: datetime = Field(sa_type=UtcDateTime)
