"""Who is let in, and what is refused before: other sites, strangers on the sandbox, answers to other logins."""

from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import ValidationError

from caravan_api.doors.front import is_for_programs
from caravan_api.doors.web.login.attempt import Attempt, LoginFailed, local
from caravan_api.doors.web.login.loopback import is_at_this_machine
from caravan_api.doors.web.origin import check_origin
from caravan_api.errors import Forbidden
from caravan_api.settings import Settings

ISSUER = "https://login.example.org"
OWN = {"host": "caravan.example.org"}


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("GET", {"sec-fetch-site": "cross-site"}),
        ("POST", {"sec-fetch-site": "same-origin"}),
        ("POST", {"origin": "http://caravan.example.org", **OWN}),
    ],
)
def test_our_own_pages_may_ask_for_changes(method: str, headers: dict[str, str]) -> None:
    check_origin(method, headers)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        OWN,
        {"sec-fetch-site": "cross-site", "origin": "https://caravan.example.org", **OWN},
        {"sec-fetch-site": "same-site", **OWN},
        {"sec-fetch-site": "none", **OWN},
        {"origin": "https://evil.example.org", **OWN},
        {"origin": "null", **OWN},
    ],
)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_nobody_elses_page_may(method: str, headers: dict[str, str]) -> None:
    with pytest.raises(Forbidden):
        check_origin(method, headers)


@pytest.mark.parametrize(
    ("peer", "headers", "is_here"),
    [
        ("127.0.0.1", {"host": "127.0.0.1:8780"}, True),
        ("127.0.0.1", {"host": "localhost"}, True),
        ("::1", {"host": "[::1]:8780"}, True),
        ("127.0.0.1", {"host": "rebound.example.org"}, False),
        ("127.0.0.1", {}, False),
        ("127.0.0.1", {"host": "localhost", "x-forwarded-for": "203.0.113.9"}, False),
        ("192.0.2.7", {"host": "localhost"}, False),
        (None, {"host": "localhost"}, False),
    ],
)
def test_only_a_browser_on_this_machine_is_at_this_machine(
    peer: str | None, headers: dict[str, str], is_here: bool
) -> None:
    assert is_at_this_machine(peer, headers) is is_here


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.7"])
def test_a_door_that_opens_by_itself_listens_on_loopback_alone(host: str) -> None:
    with pytest.raises(ValidationError, match="loopback address"):
        Settings(http_host=host, web_opens_on_loopback=True, bootstrap_token="t")


@pytest.mark.parametrize(
    "path", ["//evil.example.org", "https://evil.example.org", "/\\evil", "evil", "", None, "/a\nb"]
)
def test_nobody_is_sent_elsewhere_after_a_login(path: str | None) -> None:
    assert local(path) == "/"
    assert local("/clusters?q=a") == "/clusters?q=a"


def test_an_attempt_asks_with_its_secrets_and_comes_back_whole() -> None:
    attempt = Attempt.begun("https://caravan.example.org/login/callback", "/clusters")
    asked = parse_qs(
        urlsplit(attempt.address(f"{ISSUER}/authorize?a=b", "caravan", ["openid", "offline_access"])).query
    )
    assert (asked["state"], asked["nonce"], asked["a"]) == ([attempt.state], [attempt.nonce], ["b"])
    assert (asked["scope"], asked["code_challenge_method"]) == (["openid"], ["S256"])
    assert attempt.verifier not in str(asked)
    assert Attempt.read(attempt.written()) == attempt
    assert attempt.code_in({"state": attempt.state, "code": "c", "iss": ISSUER}, ISSUER) == "c"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"state": "another"}, "another login"),
        ({"iss": "https://evil.example.org"}, "another issuer"),
        ({"error": "access_denied"}, "access_denied"),
        ({"code": None}, "no code"),
    ],
)
def test_an_answer_to_another_login_or_a_no_is_no_login(changes: dict[str, str | None], why: str) -> None:
    attempt = Attempt.begun("https://caravan.example.org/login/callback", "/")
    answer = {"state": attempt.state, "code": "c", **changes}
    with pytest.raises(LoginFailed, match=why):
        attempt.code_in({name: value for name, value in answer.items() if value is not None}, ISSUER)


@pytest.mark.parametrize("cookie", [None, "", "%%%", "e30="])
def test_no_login_is_under_way_without_its_cookie(cookie: str | None) -> None:
    with pytest.raises(LoginFailed):
        Attempt.read(cookie)


def test_programs_and_people_are_told_apart_by_path() -> None:
    assert [is_for_programs(path) for path in ("/v1", "/v1/clusters", "/chat/acme", "/openapi.json")] == [True] * 4
    assert [is_for_programs(path) for path in ("/", "/clusters", "/v12", "/chats")] == [False] * 4
