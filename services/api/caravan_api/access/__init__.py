"""Who may do what: bearer tokens, teams, roles; and the check that no route forgot to say which role it needs."""

from caravan_api.access.guard import (
    Admin,
    Developer,
    Entrance,
    Identified,
    Owner,
    Viewer,
    by_bearer,
    check_role,
    checks_signature,
    is_public,
    needs,
    opens,
    public,
    routes_open_to_all,
)
from caravan_api.access.recognition import Access, valid_tokens
from caravan_api.access.roles import Caller, Known, Role, Scope
from caravan_api.access.sessions import Sessions

__all__ = [
    "Access",
    "Admin",
    "Caller",
    "Developer",
    "Entrance",
    "Identified",
    "Known",
    "Owner",
    "Role",
    "Scope",
    "Sessions",
    "Viewer",
    "by_bearer",
    "check_role",
    "checks_signature",
    "is_public",
    "needs",
    "opens",
    "public",
    "routes_open_to_all",
    "valid_tokens",
]
