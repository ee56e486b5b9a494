"""Tokens made by hand, for all that no issuer would ever sign, and the key sets that go with them."""

import base64
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from joserfc import jws
from joserfc.jwk import ECKey, Key, KeySet, RSAKey

ISSUER = "https://login.example.org/main"


def ec_key(kid: str = "one") -> ECKey:
    """A new key for ES256."""
    return ECKey.generate_key("P-256", {"kid": kid, "use": "sig"})


def rsa_key(kid: str = "one", bits: int = 2048) -> RSAKey:
    """A new key for RS256 and its kin."""
    return RSAKey.generate_key(bits, {"kid": kid})


def key_set(*keys: Key) -> bytes:
    """What the issuer publishes of its keys."""
    return json.dumps(KeySet(list(keys)).as_dict(private=False)).encode()


def claims_at(now: datetime, **changes: Any) -> dict[str, Any]:
    """What a good token says; a change to None leaves the claim out."""
    at = int(now.timestamp())
    claims = {
        "iss": ISSUER,
        "aud": "caravan",
        "sub": "248289761001",
        "iat": at,
        "exp": at + 600,
        "email": "alice@example.org",
        "groups": ["platform"],
        **changes,
    }
    return {name: value for name, value in claims.items() if value is not None}


def signed(claims: Any, key: Key, alg: str = "ES256", **header: Any) -> str:
    """A token, signed whatever it says."""
    told = {"alg": alg, "typ": "JWT", "kid": key.kid, **header}
    told = {name: value for name, value in told.items() if value is not None}
    registry = jws.JWSRegistry(algorithms=[alg], strict_check_header=False)
    return jws.serialize_compact(told, json.dumps(claims).encode(), key, registry=registry)


def unsigned(header: Mapping[str, Any], claims: Any, signature: bytes = b"") -> str:
    """A token as text, with any header and signature."""
    return ".".join(map(segment, (json.dumps(header).encode(), json.dumps(claims).encode(), signature)))


def segment(content: bytes) -> str:
    """One part of a token."""
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
