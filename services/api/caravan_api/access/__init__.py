"""Who may do what: bearer tokens, teams, roles; and the check that no route forgot to say which role it needs."""

from caravan_api.access.guard import (
    Admin,
    Developer,
    Identified,
    Owner,
    Viewer,
    check_role,
    checks_signature,
    is_public,
    needs,
    public,
    routes_open_to_all,
)
from caravan_api.access.recognition import Access, valid_tokens
from caravan_api.access.roles import Caller, Known, Role, Scope

__all__ = [
    "Access",
    "Admin",
    "Caller",
    "Developer",
    "Identified",
    "Known",
    "Owner",
    "Role",
    "Scope",
    "Viewer",
    "check_role",
    "checks_signature",
    "is_public",
    "needs",
    "public",
    "routes_open_to_all",
    "valid_tokens",
]
