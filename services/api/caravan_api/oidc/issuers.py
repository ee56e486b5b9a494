"""Whom a bearer token of an OpenID Connect issuer stands for.

What the token says is judged first and its signature last: that way only a token that would be good asks for keys.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Self

from caravan_api.oidc.errors import Untrusted
from caravan_api.oidc.far_end import FarEnd
from caravan_api.oidc.identity import Expected, Identity, identity_of
from caravan_api.oidc.keys import IssuerKeys
from caravan_api.oidc.signature import check_signature, opened
from caravan_api.settings import Settings
from caravan_shared.plumbing.clock import Clock
from caravan_shared.plumbing.log import get_logger

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Issuer:
    """One whose tokens are taken: what they must say, and the keys that sign them."""

    expected: Expected
    keys: IssuerKeys


class Issuers:
    """All whose tokens are taken, which may be none."""

    def __init__(self, issuers: Iterable[Issuer], clock: Clock) -> None:
        self._by_name = {issuer.expected.issuer: issuer for issuer in issuers}
        self._clock = clock

    @classmethod
    def configured(cls, settings: Settings, clock: Clock) -> Self:
        """Those that the settings name. OSError (`ssl.SSLError` is one) if the CA file cannot be used."""
        if settings.oidc_issuer is None:
            return cls((), clock)
        expected = Expected(
            settings.oidc_issuer, settings.oidc_client_id, settings.oidc_user_claim, settings.oidc_groups_claim
        )
        far_end = FarEnd(settings.oidc_issuer, settings.oidc_ca_file)
        max_age = timedelta(seconds=settings.oidc_keys_max_age_s)
        return cls([Issuer(expected, IssuerKeys(settings.oidc_issuer, far_end.fetch, clock, max_age))], clock)

    async def verify(self, text: str) -> Identity | None:
        """Whom a token stands for; None for what is no valid token of any of these issuers.

        Raises `IssuerAway`, a `Retry`, if its issuer must be asked for keys and cannot be.
        """
        try:
            token = opened(text)
        except Untrusted:
            return None
        named = token.claims.get("iss")
        issuer = self._by_name.get(named) if isinstance(named, str) else None
        if issuer is None:
            return None
        try:
            identity = identity_of(token.claims, issuer.expected, self._clock.now())
            check_signature(text, await issuer.keys.find(token.key_id))
        except Untrusted as error:
            log.info("token refused", issuer=named, why=error.reason)
            return None
        return identity
