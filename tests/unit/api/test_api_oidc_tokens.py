"""Which tokens stand for somebody: whole tokens, with keys of our own and no network."""

import base64
import hashlib
import hmac
import json
import warnings
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import ECKey, Key, OctKey, OKPKey

from caravan_api.oidc.identity import Expected, Identity
from caravan_api.oidc.issuers import Issuer, Issuers
from caravan_api.oidc.keys import IssuerKeys
from caravan_shared.contracts.users import why_no_user
from tests.support.clock import ManualClock
from tests.support.oidc.tokens import ISSUER, claims_at, ec_key, key_set, rsa_key, segment, signed, unsigned

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
EC, RSA = ec_key("ec"), rsa_key("rsa")


def issuers(document: bytes, user_claim: str = "email") -> Issuers:
    """One issuer, which publishes that document as its keys."""
    clock = ManualClock(NOW)

    async def fetch() -> bytes:
        return document

    keys = IssuerKeys(ISSUER, fetch, clock, timedelta(minutes=5))
    return Issuers([Issuer(Expected(ISSUER, "caravan", user_claim), keys)], clock)


USUAL = issuers(key_set(EC, RSA))


async def user_of(text: str, subject: Issuers = USUAL) -> str | None:
    identity = await subject.verify(text)
    return identity.user if identity else None


async def test_a_good_token_tells_who_which_groups_and_until_when() -> None:
    identity = await USUAL.verify(signed(claims_at(NOW, groups=["a", "b", "a"]), EC))
    assert identity == Identity(ISSUER, "alice@example.org", frozenset("ab"), NOW + timedelta(seconds=600))


@pytest.mark.parametrize("alg", ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"])
async def test_rsa_signatures_of_every_kind_are_taken(alg: str) -> None:
    assert await user_of(signed(claims_at(NOW), RSA, alg)) == "alice@example.org"


@pytest.mark.parametrize(
    ("alg", "key"),
    [
        ("ES256", ECKey.generate_key("P-256", {"kid": "k"})),
        ("ES384", ECKey.generate_key("P-384", {"kid": "k"})),
        ("ES512", ECKey.generate_key("P-521", {"kid": "k"})),
        ("Ed25519", OKPKey.generate_key("Ed25519", {"kid": "k"})),
    ],
)
async def test_signatures_on_curves_are_taken(alg: str, key: Key) -> None:
    assert await user_of(signed(claims_at(NOW), key, alg), issuers(key_set(key))) == "alice@example.org"


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": int(NOW.timestamp()) - 30},
        {"exp": int(NOW.timestamp()) - 86_400},
        {"exp": None},
        {"exp": "tomorrow"},
        {"exp": 10**400},
        {"exp": 1e300},
        {"exp": float("nan")},
        {"exp": True},
        {"nbf": int(NOW.timestamp()) + 31},
        {"nbf": "now"},
        {"iat": int(NOW.timestamp()) + 31},
        {"iat": None},
        {"aud": "somebody-else"},
        {"aud": ["somebody-else", "caravan2"]},
        {"aud": []},
        {"aud": {"caravan": 1}},
        {"aud": None},
        {"iss": "https://login.example.org/main/"},
        {"iss": "https://evil.example.org"},
        {"iss": [ISSUER]},
        {"iss": None},
        {"sub": None},
        {"sub": 5},
        {"email": None},
        {"email": ""},
        {"email": ["alice@example.org"]},
        {"email": "alice\n@example.org"},
        {"email": "system:masters"},
        {"email": "\u212aate@example.org"},  # a Kelvin sign, whose small letter is a plain k
        {"email": "a" * 65},
        {"email_verified": False},
        {"email_verified": "false"},
        {"groups": {"a": 1}},
        {"groups": ["a", 1]},
        {"groups": 7},
    ],
    ids=str,
)
async def test_a_token_with_a_wrong_claim_is_nobodys(changes: dict[str, Any]) -> None:
    assert await user_of(signed(claims_at(NOW, **changes), EC)) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": int(NOW.timestamp()) - 29},
        {"nbf": int(NOW.timestamp()) + 30},
        {"iat": int(NOW.timestamp()) + 30},
        {"aud": ["somebody-else", "caravan"]},
        {"email_verified": True},
        {"email": "ALICE@Example.org"},
        {"groups": None},
        {"groups": "platform"},
        {"azp": "somebody-else", "anything": {"else": [1]}},
    ],
    ids=str,
)
async def test_clocks_may_differ_a_little_and_tokens_may_say_more(changes: dict[str, Any]) -> None:
    assert await user_of(signed(claims_at(NOW, **changes), EC)) == "alice@example.org"


@pytest.mark.parametrize("crit", [["exp"], ["b64"], [], None, "exp", 5])
async def test_a_token_that_must_be_understood_further_is_nobodys(crit: Any) -> None:
    header = {"alg": "ES256", "kid": EC.kid, "exp": 1, "b64": True, "crit": crit}
    assert await user_of(resigned(header, claims_at(NOW))) is None


async def test_another_claim_names_the_user_as_it_stands() -> None:
    claims = claims_at(NOW, email_verified=False, preferred_username="Alice")
    for claim in ("preferred_username", "sub"):
        assert await user_of(signed(claims, EC), issuers(key_set(EC), claim)) == claims[claim]


@pytest.mark.parametrize("kind", ["logout+jwt", "dpop+jwt", "", 5])
async def test_a_token_for_something_else_is_nobodys(kind: Any) -> None:
    header = {"alg": "ES256", "typ": kind, "kid": EC.kid}
    assert await user_of(resigned(header, claims_at(NOW))) is None


async def test_a_token_without_key_id_means_the_only_key() -> None:
    text = signed(claims_at(NOW), EC, kid=None)
    assert await user_of(text, issuers(key_set(EC))) == "alice@example.org"
    assert await user_of(text, issuers(key_set(EC, RSA))) is None


async def test_no_algorithm_is_no_signature() -> None:
    for alg in ("none", "None", "NONE", ""):
        assert await user_of(unsigned({"alg": alg, "kid": EC.kid}, claims_at(NOW))) is None


@pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER])
async def test_a_public_key_is_never_taken_for_a_secret(encoding: Encoding) -> None:
    public = RSA.public_key.public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo)
    body = unsigned({"alg": "HS256", "kid": RSA.kid}, claims_at(NOW)).rstrip(".")
    forged = f"{body}.{segment(hmac.digest(public, body.encode(), hashlib.sha256))}"
    assert await user_of(forged) is None


async def test_a_secret_in_the_key_set_opens_nothing() -> None:
    secret = OctKey.import_key(b"a" * 32, {"kid": "shared"})
    published = json.dumps({"keys": [{"kty": "oct", "k": segment(b"a" * 32), "kid": "shared"}]})
    assert await user_of(signed(claims_at(NOW), secret, "HS256"), issuers(published.encode())) is None


async def test_a_key_that_the_token_brings_along_proves_nothing() -> None:
    own = ec_key("ec")
    brought: dict[str, Any] = {"jwk": own.as_dict(private=False), "jku": "https://evil.example.org/keys"}
    assert await user_of(signed(claims_at(NOW), own, **brought)) is None
    assert await user_of(signed(claims_at(NOW), own)) is None, "the issuer's key of that id is another one"


async def test_a_key_signs_with_the_algorithm_that_it_is_for() -> None:
    bound = rsa_key("bound")
    published = json.loads(key_set(bound))["keys"][0] | {"alg": "RS256"}
    subject = issuers(json.dumps({"keys": [published]}).encode())
    assert await user_of(signed(claims_at(NOW), bound, "RS256"), subject) == "alice@example.org"
    assert await user_of(signed(claims_at(NOW), bound, "PS256"), subject) is None


async def test_keys_for_encryption_and_short_ones_are_not_for_tokens() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        short = rsa_key("short", bits=1024)
        assert await user_of(signed(claims_at(NOW), short, "RS256"), issuers(key_set(short))) is None
    locks = ECKey.generate_key("P-256", {"kid": "locks", "use": "enc"})
    own = ECKey.import_key(locks.as_dict(private=True) | {"use": "sig"})
    assert await user_of(signed(claims_at(NOW), own), issuers(key_set(locks))) is None
    assert await user_of(signed(claims_at(NOW), own), issuers(key_set(own))) == "alice@example.org"


async def test_without_an_issuer_no_token_is_anybodys() -> None:
    assert await Issuers((), ManualClock(NOW)).verify(signed(claims_at(NOW), EC)) is None


def resigned(header: dict[str, Any], claims: Any) -> str:
    """A token that is signed although a signer of tokens would refuse its header."""
    good = signed(claims, EC).split(".")
    return f"{unsigned(header, claims).rstrip('.')}.{good[2]}"


GOOD = signed(claims_at(NOW), EC)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "alg": st.sampled_from(["ES256", "RS256", "HS256", "none", "EdDSA", "dir", 5, None]),
        "kid": st.sampled_from(["ec", "rsa", "x", "", None, 5, ["ec"]]),
        "typ": JSON,
        "crit": JSON,
        "b64": st.booleans(),
        "zip": st.just("DEF"),
        "jwk": JSON,
    },
)
CLAIMS = JSON | st.builds(lambda changes: {**claims_at(NOW), **changes}, st.dictionaries(st.text(max_size=5), JSON))


@given(text=st.text() | st.from_regex(r"[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*", fullmatch=True))
async def test_junk_is_nobodys(text: str) -> None:
    assert await user_of(text) is None


@given(header=HEADERS | JSON, claims=CLAIMS, signature=st.binary(max_size=80))
async def test_what_looks_like_a_token_but_is_not_signed_is_nobodys(header: Any, claims: Any, signature: bytes) -> None:
    assert await user_of(unsigned(header, claims, signature)) is None


@given(part=st.integers(0, 2), at=st.integers(0, 10_000), flip=st.integers(1, 255))
async def test_a_good_token_with_any_byte_changed_is_nobodys(part: int, at: int, flip: int) -> None:
    parts = GOOD.split(".")
    content = bytearray(base64.urlsafe_b64decode(parts[part] + "=="))
    content[at % len(content)] ^= flip
    parts[part] = segment(bytes(content))
    assert await user_of(GOOD) == "alice@example.org"
    assert await user_of(".".join(parts)) is None


@given(claims=CLAIMS)
async def test_whatever_an_issuer_signs_never_breaks_anything(claims: Any) -> None:
    user = await user_of(signed(claims, EC))
    assert user is None or why_no_user(user) is None


@pytest.mark.parametrize(
    "claims",
    [b"[" * 50_000, b'{"exp":' + b"9" * 5_000 + b"}", b"\xff\xfe", b"{}" * 3, b'{"iss": NaN}', b"9" * 200_000],
)
async def test_hostile_json_is_nobodys(claims: bytes) -> None:
    header = segment(b'{"alg":"ES256","kid":"ec"}')
    assert await user_of(f"{header}.{segment(claims)}.{segment(b'x')}") is None
    assert await user_of(f"{segment(claims)}.{segment(b'{}')}.{segment(b'x')}") is None
