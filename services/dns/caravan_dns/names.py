"""Names that go into records and certificates: the endpoint's host name, and who a certificate is for. Pure."""

import re

from caravan_dns.errors import RefusedUser

LONGEST_COMMON_NAME = 64
"""Upper bound of a certificate's common name, characters (RFC 5280, ub-common-name)."""

_USER = re.compile(r"[A-Za-z0-9][A-Za-z0-9@._+:/-]*")
_KEPT_PREFIXES = ("system:", "caravan:")


def endpoint_host(template: str, *, name: str, team: str, origin: str) -> str:
    """The fully qualified name of a cluster's endpoint, without the final dot."""
    return template.format(name=name, team=team, origin=origin.rstrip(".")).lower()


def checked_user(user: str) -> str:
    """The name itself if a certificate may carry it as its CN, which Kubernetes takes for the user's name.

    `system:` names are Kubernetes' own and `caravan:` names ours: whoever bore one could be taken for a component.
    Raises RefusedUser.
    """
    if not user or len(user) > LONGEST_COMMON_NAME:
        raise RefusedUser(f"it must have 1 to {LONGEST_COMMON_NAME} characters")
    if not _USER.fullmatch(user):
        raise RefusedUser("it may hold letters, digits and @ . _ + : / - and must begin with a letter or digit")
    if user.lower().startswith(_KEPT_PREFIXES):
        raise RefusedUser(f"names that begin with {' or '.join(_KEPT_PREFIXES)} are kept for components")
    return user
