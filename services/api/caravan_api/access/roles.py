"""Whom the api deals with: users of teams, their roles, and what a token of theirs is limited to. Pure.

A viewer reads, a developer also changes, an owner also says who belongs to the team: all three in their own team. An
admin runs the installation: all teams, machines, dead letters. What belongs to another team does not exist for its
outsiders: they get 404, never 403.
"""

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID


class Role(StrEnum):
    """What someone may do, from least to most."""

    VIEWER = "viewer"
    """Reads what the team has."""
    DEVELOPER = "developer"
    """Also creates, changes and deletes it."""
    OWNER = "owner"
    """Also says who belongs to the team, and gives out and takes back its tokens."""
    ADMIN = "admin"
    """Runs the installation: every team's clusters, the teams themselves, machines, dead letters."""

    def includes(self, other: "Role") -> bool:
        """True if this role may do all that the other may."""
        order = list(Role)
        return order.index(self) >= order.index(other)


class Scope(StrEnum):
    """What a token may be limited to: the routes that carry it as a tag. Those of `offers` are open to every token."""

    CLUSTERS = "clusters"
    ACCESS = "access"
    POOLS = "pools"
    LEASES = "leases"
    MACHINES = "machines"
    TEAMS = "teams"
    DEAD_LETTERS = "dead letters"


@dataclass(frozen=True, slots=True)
class Standing:
    """What somebody is known by: a token of ours, or an issuer that says which groups they are in."""

    token_id: UUID | None = None
    groups: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever sent a request, in the team that it is about."""

    user: str
    team: str
    role: Role
    scopes: frozenset[Scope] = frozenset()
    """What their token is limited to; empty: to nothing."""
    standing: Standing | None = None
    """What they are known by; None for the first admin, who is always known."""

    @property
    def is_admin(self) -> bool:
        """True for those who run the installation."""
        return self.role is Role.ADMIN

    def sees(self, team: str) -> bool:
        """True if what belongs to that team exists for the caller."""
        return team == self.team or self.is_admin


@dataclass(frozen=True, slots=True)
class Known:
    """Somebody whom a bearer token named, before it is clear which of their teams is meant."""

    user: str
    roles: dict[str, Role]
    """By team; none for somebody who is vouched for and belongs to no team."""
    scopes: frozenset[Scope] = frozenset()
    standing: Standing | None = None

    @property
    def is_admin(self) -> bool:
        """True for those who run the installation: an admin anywhere is one everywhere."""
        return Role.ADMIN in self.roles.values()

    def within(self, team: str | None) -> Caller | None:
        """The caller in the team that was named, or in their only one; None if it is unclear which, or they have none.

        Who names a team that is not theirs stays in one that is: routes then say what they say of foreign things.
        """
        if self.is_admin:
            home = next(name for name, role in self.roles.items() if role is Role.ADMIN)
            return self._caller(home, Role.ADMIN)
        if len(self.roles) == 1 or (team is not None and team not in self.roles):
            team = min(self.roles, default=None)
        return self._caller(team, self.roles[team]) if team else None

    def _caller(self, team: str, role: Role) -> Caller:
        return Caller(self.user, team, role, self.scopes, self.standing)
