"""From what a token claims to who sent it. Pure: no network, no clock, no signatures.

Sources: RFC 7519 (section 4.1) and OpenID Connect Core 1.0 (sections 2 and 5.1).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from joserfc.errors import JoseError
from joserfc.jwt import JWTClaimsRegistry

from caravan_api.oidc.errors import Untrusted
from caravan_shared.contracts.users import why_no_user

LEEWAY_S = 30
"""By how much an issuer's clock and ours may differ."""

_EMAIL = "email"

Claims = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Identity:
    """Whoever an issuer vouches for, until when."""

    issuer: str
    user: str
    groups: frozenset[str]
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Expected:
    """What a token of an issuer must say, and where it says who and which groups."""

    issuer: str
    client_id: str
    user_claim: str = _EMAIL
    groups_claim: str = "groups"


def identity_of(claims: Claims, expected: Expected, now: datetime) -> Identity:
    """Whom the claims name. Raises Untrusted for claims that are not those of a valid token for us at `now`."""
    _check(claims, expected, now)
    return Identity(
        issuer=expected.issuer,
        user=_user(claims, expected.user_claim),
        groups=_groups(claims, expected.groups_claim),
        expires_at=_moment(claims["exp"]),
    )


def _check(claims: Claims, expected: Expected, now: datetime) -> None:
    rules = JWTClaimsRegistry(
        now=int(now.timestamp()),
        leeway=LEEWAY_S,
        iss={"essential": True, "value": expected.issuer},
        aud={"essential": True, "value": expected.client_id},
        sub={"essential": True},
        exp={"essential": True},
        iat={"essential": True},
    )
    try:
        rules.validate(dict(claims))
    except JoseError as error:
        raise Untrusted(str(error)) from error


def _user(claims: Claims, claim: str) -> str:
    user = claims.get(claim)
    if not isinstance(user, str):
        raise Untrusted(f"it has no claim {claim}, which names the user")
    if problem := why_no_user(user):
        raise Untrusted(f"its claim {claim} is no user's name here: {problem}")
    if claim != _EMAIL:
        return user
    if claims.get("email_verified") in (False, "false"):  # some issuers write it as a text
        raise Untrusted("nobody verified that its email is the user's")
    # Mailboxes do not tell Alice from alice, and neither may teams. The name is ASCII by now, so that nothing becomes a
    # letter that it was not: the Kelvin sign would become a k.
    return user.lower()


def _groups(claims: Claims, claim: str) -> frozenset[str]:
    told = claims.get(claim)
    groups = [told] if isinstance(told, str) else told or []
    if not isinstance(groups, list) or not all(isinstance(group, str) for group in groups):
        raise Untrusted(f"its claim {claim} is no list of groups")
    return frozenset(groups)


def _moment(numeric_date: float) -> datetime:
    try:
        return datetime.fromtimestamp(numeric_date, UTC)
    except (OverflowError, ValueError, OSError) as error:
        raise Untrusted("it expires when no calendar goes on") from error
