"""Which issuers may be asked, and what one says of itself."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from caravan_shared.contracts.oidc import IssuerUrl, metadata_url, read_metadata

ISSUER = "https://login.example.org/main"
_TYPE: TypeAdapter[str] = TypeAdapter(IssuerUrl)


@pytest.mark.parametrize(
    "url",
    [
        "https://login.example.org",
        "https://login.example.org:8443/realms/main/",
        "http://127.0.0.1:5556/dex",
        "http://[::1]:80",
        "http://localhost:1",
    ],
)
def test_private_addresses_and_those_of_this_machine_pass(url: str) -> None:
    assert _TYPE.validate_python(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "login.example.org",
        "http://login.example.org",
        "http://127.0.0.1.example.org",
        "http://localhost.example.org",
        "http://0.0.0.0",
        "http://2130706433",
        "ftp://login.example.org",
        "file:///etc/passwd",
        "https://",
        "https://user@login.example.org",
        "https://login.example.org/?tenant=1",
        "https://login.example.org/#here",
        "https://[::1",
    ],
)
def test_what_others_could_read_or_answer_is_refused(url: str) -> None:
    with pytest.raises(ValidationError):
        _TYPE.validate_python(url)


def test_metadata_is_below_the_issuers_own_path() -> None:
    assert metadata_url("https://x.org/a/") == metadata_url("https://x.org/a")
    assert metadata_url("https://x.org/a") == "https://x.org/a/.well-known/openid-configuration"


def test_what_it_says_beyond_our_needs_is_passed_over() -> None:
    document = {"issuer": ISSUER, "jwks_uri": f"{ISSUER}/keys?v=1", "claims_supported": ["sub"]}
    assert read_metadata(ISSUER, json.dumps(document).encode()).jwks_uri == f"{ISSUER}/keys?v=1"


@pytest.mark.parametrize("issuer", [f"{ISSUER}/", "https://LOGIN.example.org/main", "https://evil.example.org"])
def test_another_issuer_is_not_taken_for_this_one(issuer: str) -> None:
    with pytest.raises(ValueError, match="names another issuer"):
        read_metadata(ISSUER, json.dumps({"issuer": issuer, "jwks_uri": f"{ISSUER}/keys"}).encode())


@given(
    document=st.binary(max_size=200)
    | st.builds(lambda text: json.dumps({"issuer": ISSUER, "jwks_uri": text}).encode(), st.text())
)
def test_junk_is_refused_with_a_sentence(document: bytes) -> None:
    with pytest.raises(ValueError, match="its discovery document"):
        read_metadata(ISSUER, document)
