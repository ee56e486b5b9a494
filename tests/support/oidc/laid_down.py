"""An issuer of laid-down answers, and ID tokens that say what a test wants: for clients, which check no signatures."""

import json
import time
from typing import Any

import httpx

from caravan_cli.login.issuer import HowToLogIn
from tests.support.oidc.tokens import segment
from tests.support.rest import FakeApi

ISSUER = "https://login.example.org"
HOW = HowToLogIn(issuer=ISSUER, client_id="caravan", scopes=("openid", "email"))
METADATA = {
    "issuer": ISSUER,
    "jwks_uri": f"{ISSUER}/keys",
    "authorization_endpoint": f"{ISSUER}/authorize",
    "token_endpoint": f"{ISSUER}/token",
    "device_authorization_endpoint": f"{ISSUER}/device",
    "revocation_endpoint": f"{ISSUER}/revoke",
}


def id_token_of(lasts_s: float = 600, age_s: float = 0, **claims: Any) -> str:
    """An ID token as the issuer would give it, but for the signature."""
    issued = time.time() - age_s
    told = {"iss": ISSUER, "aud": "caravan", "sub": "1", "email": "alice@example.org", **claims}
    body = json.dumps({**told, "iat": issued, "exp": issued + lasts_s})
    return f"{segment(b'{}')}.{segment(body.encode())}.{segment(b'signature')}"


def forms(fake: FakeApi, path: str) -> list[dict[str, str]]:
    """What was posted to a path of the issuer."""
    return [dict(httpx.QueryParams(each.content.decode())) for each in fake.requests if each.url.path == path]
