"""What the menu lists: each screen with its icon, for those who may open it."""

from collections.abc import Sequence
from dataclasses import dataclass

from caravan_api.access import Caller, Role, Scope, opens


@dataclass(frozen=True, slots=True)
class Entry:
    """A screen in the menu. `scope` is the tag of its routes."""

    path: str
    title: str
    icon: str
    scope: Scope
    role: Role = Role.VIEWER

    def leads(self, caller: Caller) -> bool:
        """True if it would open to the caller."""
        return caller.role.includes(self.role) and opens(caller.scopes, [self.scope])

    def is_at(self, path: str) -> bool:
        """True on the screen itself and on what is below it."""
        return path == self.path or (self.path != "/" and path.startswith(f"{self.path}/"))


ENTRIES: Sequence[Entry] = (
    Entry("/", "Overview", "layout-dashboard", Scope.CLUSTERS),
    Entry("/clusters", "Clusters", "server-2", Scope.CLUSTERS),
    Entry("/pools", "Pools", "stack-2", Scope.POOLS),
    Entry("/leases", "Leases", "hourglass", Scope.LEASES),
    Entry("/grants", "Access", "key", Scope.ACCESS),
    Entry("/machines", "Machines", "cpu", Scope.MACHINES, Role.ADMIN),
    Entry("/dead-letters", "Dead letters", "mail-x", Scope.DEAD_LETTERS, Role.ADMIN),
    Entry("/audit", "Audit", "history", Scope.TEAMS, Role.OWNER),
    Entry("/settings", "Settings", "settings", Scope.TEAMS),
)


def entries_for(caller: Caller) -> list[Entry]:
    """The menu of somebody."""
    return [entry for entry in ENTRIES if entry.leads(caller)]
