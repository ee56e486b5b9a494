"""What an ID token says to whoever got it. Pure: no network, no clock, no signatures.

It came from the issuer's own token endpoint, whose TLS certificate was checked: that stands for its signature (OpenID
Connect Core 1.0, section 3.1.3.7, 6). The API, which gets it from somebody, checks that, and its times: this machine's
clock may be wrong.
"""

import base64
from dataclasses import dataclass

from pydantic import BaseModel

from caravan_cli.errors import CliError

_RENEWED_BEFORE_S = 60.0  # the end: the slowest call arrives while the token is good
_RENEWED_AT = 0.75  # of its life, if that is later


@dataclass(frozen=True)
class IdToken:
    """An ID token; times are seconds since the epoch."""

    subject: str
    user: str
    """What a person calls the subject."""
    issued_at: float
    expires_at: float

    def is_due(self, now: float) -> bool:
        """Whether it is time for the next one."""
        lasts_s = self.expires_at - self.issued_at
        return now >= self.expires_at - min(_RENEWED_BEFORE_S, (1 - _RENEWED_AT) * lasts_s)


def read(text: str, *, issuer: str, client_id: str, nonce: str | None = None, subject: str | None = None) -> IdToken:
    """The token, if it is from this issuer, for this client, and an answer to what was asked. CliError if not.

    `nonce` was in the question, `subject` in the token before this one (section 12.2).
    """
    try:
        claims = _Claims.model_validate_json(_payload(text))
    except ValueError as error:
        raise CliError(f"{issuer} gave an ID token that cannot be read.") from error
    right = {
        "iss": claims.iss == issuer,
        "aud": client_id in ([claims.aud] if isinstance(claims.aud, str) else claims.aud),
        "nonce": nonce in (None, claims.nonce),
        "sub": subject in (None, claims.sub),
    }
    if wrong := [name for name, is_right in right.items() if not is_right]:
        raise CliError(f"{issuer} gave an ID token that is not for this login (by its {', '.join(wrong)}).")
    user = claims.email or claims.preferred_username or claims.sub
    return IdToken(claims.sub, user, claims.iat, claims.exp)


class _Claims(BaseModel):
    iss: str
    aud: str | list[str]
    sub: str
    iat: float
    exp: float
    nonce: str | None = None
    email: str | None = None
    preferred_username: str | None = None


def _payload(text: str) -> bytes:
    """The middle of a JWT (RFC 7519, section 3)."""
    parts = text.split(".")
    if len(parts) != 3:
        raise ValueError("it is no JWT")
    return base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
