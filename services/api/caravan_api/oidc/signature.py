"""The outside of a token: which issuer and key it names, and whether that key signed it. Pure.

Nothing that `opened` tells has been proved yet. Sources: RFC 7515, RFC 7519, RFC 8725 (best current practices).
"""

import json
from dataclasses import dataclass

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import Key
from joserfc.jws import JWSRegistry

from caravan_api.oidc.errors import Untrusted
from caravan_api.oidc.identity import Claims

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519")
"""Asymmetric ones alone: a public key that is taken for an HMAC's secret would let anybody sign (RFC 8725, 2.1)."""

_TYPES = (None, "jwt", "at+jwt", "application/at+jwt")
"""What a token for us may call itself; an issuer's logout tokens, among others, are signed for us by the same keys."""

_RULES = JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False)  # unknown parameters are to be ignored: 7515, 4


@dataclass(frozen=True, slots=True)
class Opened:
    """A token as it says it is."""

    claims: Claims
    key_id: str | None


def opened(text: str) -> Opened:
    """What a text says if it is a JWT. Raises Untrusted if it is none."""
    try:
        token = jws.extract_compact(text.encode(), registry=_RULES)
        header, claims = token.headers(), json.loads(token.payload)
    except (JoseError, ValueError, RecursionError) as error:
        raise Untrusted("it is no JWT") from error
    if not isinstance(claims, dict) or not isinstance(header, dict):
        raise Untrusted("it is no JWT")
    kind, key_id = header.get("typ"), header.get("kid")
    if (kind.lower() if isinstance(kind, str) else kind) not in _TYPES:
        raise Untrusted("it is a token for something else")
    if key_id is not None and not isinstance(key_id, str):
        raise Untrusted("it is no JWT: its kid is no text")
    if "crit" in header:  # RFC 7515, 4.1.11
        raise Untrusted("it names extensions that must be known, and we know none")
    return Opened(claims, key_id)


def check_signature(text: str, key: Key) -> None:
    """Raise Untrusted unless this key signed the text, with an algorithm that it is meant for."""
    try:
        jws.deserialize_compact(text.encode(), key, registry=_RULES)
    except (JoseError, ValueError) as error:
        raise Untrusted("its signature is not its issuer's") from error
