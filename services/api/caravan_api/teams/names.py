"""How members are named: people as the identity provider or an admin calls them, groups, service accounts of a team."""

import re
from typing import Annotated

from pydantic import StringConstraints

from caravan_api.teams.store import MemberKind

_USER = r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}"
_GROUP = r"[^\x00-\x1f\x7f]{1,128}"
_SERVICE = r"[a-z]([a-z0-9-]{0,21}[a-z0-9])?"
_NAMES = {MemberKind.USER: _USER, MemberKind.GROUP: _GROUP, MemberKind.SERVICE: _SERVICE}

UserName = Annotated[str, StringConstraints(pattern=f"^{_USER}$")]
ServiceUser = Annotated[str, StringConstraints(pattern=rf"^service:[a-z][a-z0-9-]{{0,31}}/{_SERVICE}$")]
"""At most 64 characters: it becomes a certificate's common name."""


def user_of(kind: MemberKind, team: str, name: str) -> str | None:
    """The user that a member called `name` is; None if nobody of that kind can have that name."""
    if not re.fullmatch(_NAMES[kind], name):
        return None
    return f"service:{team}/{name}" if kind is MemberKind.SERVICE else name


def kind_of(user: str) -> MemberKind:
    """What bears that user's name: a service account, or a person."""
    return MemberKind.SERVICE if user.startswith("service:") else MemberKind.USER
