"""How members are named: people as the identity provider or an admin calls them, groups, service accounts of a team."""

import re

from caravan_api.teams.store import MemberKind
from caravan_shared.contracts.users import why_no_user

_SERVICES = "service:"
# With the longest name of a team it fills a certificate's common name, 64 characters.
_SERVICE = r"[a-z]([a-z0-9-]{0,21}[a-z0-9])?"
_GROUP = r"[^\x00-\x1f\x7f]{1,128}"


def is_person(user: str) -> bool:
    """True if a person may be called so: names of service accounts are not for people."""
    return why_no_user(user) is None and not user.startswith(_SERVICES)


def user_of(kind: MemberKind, team: str, name: str) -> str | None:
    """The user that a member called `name` is; None if nobody of that kind can have that name."""
    if kind is MemberKind.SERVICE:
        return service_user(team, name) if re.fullmatch(_SERVICE, name) else None
    if kind is MemberKind.GROUP:
        return name if re.fullmatch(_GROUP, name) else None
    return name if is_person(name) else None


def service_user(team: str, name: str) -> str:
    """What a team's service account is called wherever users are named."""
    return f"{_SERVICES}{team}/{name}"


def kind_of(user: str) -> MemberKind:
    """What bears that user's name: a service account, or a person."""
    return MemberKind.SERVICE if user.startswith(_SERVICES) else MemberKind.USER


def is_named_in(user: str, team: str) -> bool:
    """True for a name that somebody of this team may have: another team's service accounts are not."""
    prefix = service_user(team, "")
    if kind_of(user) is MemberKind.USER:
        return is_person(user)
    return user.startswith(prefix) and user_of(MemberKind.SERVICE, team, user.removeprefix(prefix)) is not None
