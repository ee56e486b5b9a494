"""Who may do what: bearer tokens, teams, roles; and the check that no route forgot to say which role it needs."""

from caravan_api.access.guard import (
    Admin,
    Developer,
    Identified,
    Owner,
    Viewer,
    is_public,
    needs,
    public,
    routes_open_to_all,
)
from caravan_api.access.recognition import Access, valid_tokens
    check_role,
    checks_signature,
    needs,
    routes_open_to_all,
)
from caravan_api.access.recognition import Access
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
    "is_public",
    "check_role",
    "checks_signature",
    "needs",
    "public",
    "routes_open_to_all",
    "valid_tokens",
]
