"""The browser comes back to a port of this machine: what is asked of the issuer, and which answers are a login."""

import threading
from collections.abc import Callable

import httpx
import pytest

from caravan_cli.errors import CliError, TimedOut, Unavailable
from caravan_cli.login import browser
from caravan_cli.login.issuer import Issuer, IssuerRefused
from tests.support.oidc.laid_down import HOW, ISSUER, METADATA, forms, id_token_of
from tests.support.rest import FakeApi


@pytest.fixture
def fake() -> FakeApi:
    """The issuer."""
    one = FakeApi()
    one.on("GET /.well-known/openid-configuration", METADATA)
    return one


def answering(**told: str) -> Callable[[str], None]:
    """A browser that brings these parameters back, and the state unless they say otherwise."""

    def show(address: str) -> None:
        asked = httpx.URL(address).params
        brought = {"state": asked["state"], **told}
        threading.Thread(target=httpx.get, args=[asked["redirect_uri"]], kwargs={"params": brought}).start()

    return show


def test_the_issuer_is_asked_as_the_standards_have_it(fake: FakeApi) -> None:
    asked: list[httpx.QueryParams] = []

    def show(address: str) -> None:
        asked.append(httpx.URL(address).params)
        fake.on("POST /token", {"id_token": id_token_of(nonce=asked[0]["nonce"]), "refresh_token": "r"})
        answering(code="the-code", iss=ISSUER)(address)

    with Issuer(HOW, fake) as issuer:
        made = browser.log_in(issuer, port=0, timeout_s=10, show=show)
    assert made.refresh_token == "r"
    (question,), (exchange,) = asked, forms(fake, "/token")
    assert (question["response_type"], question["code_challenge_method"]) == ("code", "S256")
    assert (question["client_id"], question["scope"]) == ("caravan", "openid email")
    assert question["redirect_uri"].startswith("http://127.0.0.1:")
    assert exchange["redirect_uri"] == question["redirect_uri"]
    assert exchange["code"] == "the-code"
    assert 43 <= len(exchange["code_verifier"]) <= 128
    assert exchange["code_verifier"] not in str(question)


@pytest.mark.parametrize(
    ("told", "error", "says"),
    [
        ({"error": "access_denied", "error_description": "You said no"}, IssuerRefused, "You said no"),
        ({"error": "access_denied"}, IssuerRefused, "access_denied"),
        ({"code": "c", "iss": "https://evil.example.org"}, CliError, "is from https://evil.example.org"),
        ({}, CliError, "no code"),
    ],
)
def test_an_answer_without_a_code_of_this_issuer_is_no_login(
    fake: FakeApi, told: dict[str, str], error: type[CliError], says: str
) -> None:
    with Issuer(HOW, fake) as issuer, pytest.raises(error, match=says):
        browser.log_in(issuer, port=0, timeout_s=10, show=answering(**told))
    assert forms(fake, "/token") == []


def test_whoever_does_not_know_the_state_is_turned_away(fake: FakeApi) -> None:
    answers: list[int] = []

    def show(address: str) -> None:
        uri = httpx.URL(address).params["redirect_uri"]
        strays = ("?code=c&state=wrong", "?code=c", "?code=c&state=%C3%A9", "/../favicon.ico")
        answers.extend(httpx.get(f"{uri}{stray}").status_code for stray in strays)

    with Issuer(HOW, fake) as issuer, pytest.raises(TimedOut):
        browser.log_in(issuer, port=0, timeout_s=0.2, show=show)
    assert answers == [404] * 4


def test_a_token_without_the_nonce_that_was_asked_for_is_refused(fake: FakeApi) -> None:
    fake.on("POST /token", {"id_token": id_token_of(nonce="another")})
    with Issuer(HOW, fake) as issuer, pytest.raises(CliError, match="nonce"):
        browser.log_in(issuer, port=0, timeout_s=10, show=answering(code="c"))


def test_a_port_that_somebody_has_is_named(fake: FakeApi) -> None:
    with browser.Callback(0, "state") as taken, Issuer(HOW, fake) as issuer, pytest.raises(Unavailable, match="Port"):
        browser.log_in(issuer, port=taken.server_address[1], timeout_s=1, show=lambda _address: None)
