"""A login with an issuer that is under way: what was asked, kept by the browser until the answer comes. Pure.

Authorization code with PKCE, by a public client. Sources: OpenID Connect Core 1.0 (section 3.1), RFC 7636 (PKCE),
RFC 9207 (who answers), RFC 9700 (best current practices).
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from urllib.parse import urlencode, urlsplit

from pydantic import BaseModel, ValidationError

from caravan_api.errors import Refused


class LoginFailed(Refused):
    """The issuer's answer is no login."""

    status, title = 401, "Not logged in"


class Attempt(BaseModel):
    """One login: secrets that only this browser has."""

    state: str
    nonce: str
    verifier: str
    redirect_uri: str
    back_to: str

    @classmethod
    def begun(cls, redirect_uri: str, back_to: str) -> "Attempt":
        """A new one."""
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        return cls(state=state, nonce=nonce, verifier=verifier, redirect_uri=redirect_uri, back_to=back_to)

    @classmethod
    def read(cls, cookie: str | None) -> "Attempt":
        """The one that the browser kept. Raises `LoginFailed`."""
        try:
            return cls.model_validate_json(base64.urlsafe_b64decode(cookie or ""))
        except (ValidationError, ValueError) as error:
            raise LoginFailed("no login is under way in this browser: begin anew") from error

    def written(self) -> str:
        """For a cookie."""
        return base64.urlsafe_b64encode(self.model_dump_json().encode()).decode()

    def address(self, endpoint: str, client_id: str, scopes: Sequence[str]) -> str:
        """Where the browser is sent."""
        challenge = base64.urlsafe_b64encode(hashlib.sha256(self.verifier.encode()).digest()).rstrip(b"=").decode()
        asked = {
            "response_type": "code",
            "client_id": client_id,
            "redirect_uri": self.redirect_uri,
            "scope": " ".join(scope for scope in scopes if scope != "offline_access"),  # nothing is renewed here
            "state": self.state,
            "nonce": self.nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        return f"{endpoint}{'&' if urlsplit(endpoint).query else '?'}{urlencode(asked)}"

    def code_in(self, answer: Mapping[str, str], issuer: str) -> str:
        """The code in the issuer's answer. Raises `LoginFailed` for one to something else, or a no."""
        if not hmac.compare_digest(answer.get("state", "").encode(), self.state.encode()):
            raise LoginFailed("this answers another login than the one that is under way in this browser: begin anew")
        if answer.get("iss", issuer) != issuer:
            raise LoginFailed("the answer to the login is from another issuer than was asked")
        if "error" in answer:
            raise LoginFailed(f"the issuer says no: {answer.get('error_description') or answer['error']}"[:500])
        if "code" not in answer:
            raise LoginFailed("the issuer did not answer as an issuer does: there is no code")
        return answer["code"]

    def grant(self, code: str, client_id: str) -> dict[str, str]:
        """What a code is redeemed with."""
        return {
            "grant_type": "authorization_code",
            "client_id": client_id,
            "code": code,
            "redirect_uri": self.redirect_uri,
            "code_verifier": self.verifier,
        }


def local(path: str | None) -> str:
    """A path on this site to go on to after the login; the front page for whatever is none."""
    parts = urlsplit(path or "/")
    is_local = not parts.scheme and not parts.netloc and parts.path.startswith("/")
    has_trick = any(character in (path or "") for character in "\\\r\n\t") or parts.path.startswith("//")
    return path if path and is_local and not has_trick else "/"
