"""`caravan login`, staying logged in, and `caravan logout`, against an issuer and an API of laid-down answers."""

import stat
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from caravan_cli.context import find_target
from caravan_cli.errors import CliError, NotAllowed, TimedOut, Unavailable, UsageProblem
from caravan_cli.login import device, id_token
from caravan_cli.login.issuer import DeviceCode, Issuer, IssuerRefused
from caravan_cli.login.kept import Login, LoginFile, login_file
from caravan_cli.login.renewal import Renewing
from caravan_cli.main import app
from tests.support.oidc.laid_down import HOW, ISSUER, METADATA, forms, id_token_of
from tests.support.oidc.tokens import segment
from tests.support.rest import FakeApi, problem

API = "http://caravan.test"
PENDING = httpx.Response(400, json={"error": "authorization_pending"})


@pytest.fixture
def fake() -> FakeApi:
    """The issuer, and an API that trusts it."""
    one = FakeApi()
    one.on("GET /.well-known/openid-configuration", METADATA)
    one.on("GET /v1/login", HOW.model_dump(mode="json"))
    one.on("GET /v1/whoami", {"user": "alice@example.org", "team": "default", "role": "developer"})
    return one


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of the test's own, without a local stack."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CARAVAN_STATE_DIR", str(tmp_path / "none"))
    for name in ("XDG_CONFIG_HOME", "CARAVAN_URL", "CARAVAN_TOKEN", "CARAVAN_TEAM"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def kept(home: Path) -> LoginFile:
    """Where the login for that API is kept."""
    return login_file(API, home / ".config" / "caravan")


def caravan(fake: FakeApi, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["--url", API, *arguments], obj=fake)


def login(id_token: str, refresh_token: str | None = "refresh-1") -> Login:
    return Login(issuer=ISSUER, client_id="caravan", id_token=id_token, refresh_token=refresh_token)


def bearer_of(request: httpx.Request) -> str:
    return request.headers["Authorization"].removeprefix("Bearer ")


# --- ID tokens ---


def test_an_id_token_tells_who_and_until_when() -> None:
    read = id_token.read(id_token_of(aud=["x", "caravan"]), issuer=ISSUER, client_id="caravan")
    assert (read.subject, read.user) == ("1", "alice@example.org")
    assert read.expires_at - read.issued_at == 600


@pytest.mark.parametrize(
    ("claims", "wrong"),
    [
        ({"iss": "https://evil.example.org"}, "iss"),
        ({"aud": "x"}, "aud"),
        ({"nonce": "x"}, "nonce"),
        ({"sub": "2"}, "sub"),
    ],
)
def test_an_id_token_for_another_login_is_refused(claims: dict[str, Any], wrong: str) -> None:
    text = id_token_of(**{"nonce": "n", **claims})
    with pytest.raises(CliError, match=f"by its {wrong}"):
        id_token.read(text, issuer=ISSUER, client_id="caravan", nonce="n", subject="1")


@given(text=st.text() | st.binary().map(lambda content: f"a.{segment(content)}.b"))
def test_junk_is_no_id_token(text: str) -> None:
    with pytest.raises(CliError, match="cannot be read"):
        id_token.read(text, issuer=ISSUER, client_id="caravan")


@pytest.mark.parametrize(
    ("lasts_s", "age_s", "is_due"),
    [(3600, 3539, False), (3600, 3541, True), (100, 74, False), (100, 76, True), (100, 500, True), (0, 0, True)],
)
def test_a_token_is_renewed_a_minute_or_a_quarter_of_its_life_before_its_end(
    lasts_s: int, age_s: int, is_due: bool
) -> None:
    assert id_token.IdToken("1", "alice", 1000, 1000 + lasts_s).is_due(1000 + age_s) is is_due


# --- the file ---


def test_a_login_is_readable_by_its_owner_alone_and_replaced_whole(kept: LoginFile) -> None:
    kept.write(login("first"))
    kept.write(login("second"))
    assert kept.read().id_token == "second"
    assert stat.S_IMODE(kept.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(kept.path.parent.stat().st_mode) == 0o700
    assert list(kept.path.parent.iterdir()) == [kept.path]


def test_a_broken_login_is_named(kept: LoginFile) -> None:
    kept.write(login("first"))
    kept.path.write_text("{")
    with pytest.raises(UsageProblem, match="caravan login"):
        kept.read()


def test_a_login_goes_before_a_files_token_and_after_one_that_was_said(home: Path, kept: LoginFile) -> None:
    config = home / ".config" / "caravan" / "config.yaml"
    config.parent.mkdir(parents=True)
    config.write_text(f"url: {API}\ntoken: from-file\n")
    assert find_target(env={}, home=home).token == "from-file"
    kept.write(login(id_token_of()))
    target = find_target(env={}, home=home)
    assert (target.token, target.login) == (None, kept)
    said = find_target(env={"CARAVAN_TOKEN": "said"}, home=home)
    assert (said.token, said.login) == ("said", None)
    assert find_target(url="http://elsewhere.test", env={}, home=home).login is None, "a login is for one API"


# --- staying logged in ---


def test_commands_go_with_the_id_token(fake: FakeApi, kept: LoginFile) -> None:
    kept.write(login(id_token_of()))
    assert "alice@example.org" in caravan(fake, "whoami").stdout
    assert [bearer_of(each) for each in fake.requests] == [kept.read().id_token]


def test_a_token_that_is_due_is_renewed_and_kept(fake: FakeApi, kept: LoginFile) -> None:
    kept.write(login(id_token_of(age_s=599)))
    fresh = id_token_of()
    fake.on("POST /token", {"id_token": fresh, "refresh_token": "refresh-2"})
    assert caravan(fake, "whoami").exit_code == 0
    assert bearer_of(fake.requests[-1]) == fresh
    assert forms(fake, "/token") == [
        {"client_id": "caravan", "grant_type": "refresh_token", "refresh_token": "refresh-1"}
    ]
    assert (kept.read().id_token, kept.read().refresh_token) == (fresh, "refresh-2")


def test_a_refresh_token_stays_where_the_issuer_gives_no_other(fake: FakeApi, kept: LoginFile) -> None:
    kept.write(login(id_token_of(age_s=599)))
    fake.on("POST /token", {"id_token": id_token_of()})
    caravan(fake, "whoami")
    assert kept.read().refresh_token == "refresh-1"


def test_many_at_once_renew_once(fake: FakeApi, kept: LoginFile) -> None:
    kept.write(login(id_token_of(age_s=601)))
    fresh = id_token_of()

    def slowly(request: httpx.Request) -> httpx.Response:
        time.sleep(0.05)
        return httpx.Response(200, json={"id_token": fresh})

    fake.on("POST /token", slowly)
    got: list[str] = []
    threads = [threading.Thread(target=lambda: got.append(Renewing(kept, fake).id_token())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (got, len(forms(fake, "/token"))) == ([fresh] * 8, 1)


def lost(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("lost", request=request)


def test_while_the_issuer_is_away_a_token_is_used_to_its_end(fake: FakeApi, kept: LoginFile) -> None:
    fake.on("POST /token", lost)
    kept.write(login(id_token_of(age_s=590)))
    assert Renewing(kept, fake).id_token() == kept.read().id_token
    kept.write(login(id_token_of(age_s=601)))
    with pytest.raises(Unavailable, match=ISSUER):
        Renewing(kept, fake).id_token()


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(400, json={"error": "invalid_grant"}),
        httpx.Response(200, json={"access_token": "x"}),
    ],
)
def test_a_login_that_has_ended_says_how_to_go_on(fake: FakeApi, kept: LoginFile, answer: httpx.Response) -> None:
    kept.write(login(id_token_of(age_s=601)))
    fake.on("POST /token", answer)
    ended = caravan(fake, "whoami")
    assert (ended.exit_code, "caravan login" in ended.stderr) == (NotAllowed.exit_code, True)


def test_a_login_without_refresh_token_ends_with_its_token(fake: FakeApi, kept: LoginFile) -> None:
    kept.write(login(id_token_of(age_s=590), refresh_token=None))
    assert Renewing(kept, fake).id_token()
    kept.write(login(id_token_of(age_s=601), refresh_token=None))
    with pytest.raises(NotAllowed, match="no refresh tokens"):
        Renewing(kept, fake).id_token()


def test_a_renewed_token_is_of_the_same_subject(fake: FakeApi, kept: LoginFile) -> None:
    kept.write(login(id_token_of(age_s=601)))
    fake.on("POST /token", {"id_token": id_token_of(sub="2")})
    with pytest.raises(CliError, match="sub"):
        Renewing(kept, fake).id_token()


# --- the device's way ---


def device_answer(**changes: Any) -> dict[str, Any]:
    return {
        "device_code": "d",
        "user_code": "WDJB-MJHT",
        "verification_uri": f"{ISSUER}/go",
        "expires_in": 600,
        "interval": 0.01,
        **changes,
    }


def test_a_device_asks_until_the_person_has_agreed(fake: FakeApi) -> None:
    fake.on("POST /device", device_answer())
    fake.on("POST /token", PENDING, PENDING, {"id_token": id_token_of(), "refresh_token": "r"})
    shown: list[DeviceCode] = []
    with Issuer(HOW, fake) as issuer:
        made = device.log_in(issuer, timeout_s=10, show=shown.append)
    assert (made.refresh_token, shown[0].user_code) == ("r", "WDJB-MJHT")
    assert [form["device_code"] for form in forms(fake, "/token")] == ["d"] * 3


def test_a_device_asks_slower_when_told_to_and_gives_up_when_refused() -> None:
    assert device.slower(5, IssuerRefused(ISSUER, "slow_down", "")) == 10
    assert device.slower(5, IssuerRefused(ISSUER, "authorization_pending", "")) == 5
    for code in ("access_denied", "expired_token"):
        with pytest.raises(IssuerRefused):
            device.slower(5, IssuerRefused(ISSUER, code, ""))


def test_a_device_bears_an_issuer_that_is_away_for_a_while(fake: FakeApi) -> None:
    fake.on("POST /device", device_answer())
    fake.on("POST /token", lost, httpx.Response(503), {"id_token": id_token_of()})
    with Issuer(HOW, fake) as issuer:
        assert device.log_in(issuer, timeout_s=10, show=lambda _code: None)


def test_a_code_that_nobody_uses_runs_out(fake: FakeApi) -> None:
    fake.on("POST /device", device_answer(expires_in=0.1))
    fake.on("POST /token", PENDING)
    with Issuer(HOW, fake) as issuer, pytest.raises(TimedOut):
        device.log_in(issuer, timeout_s=10, show=lambda _code: None)


# --- the commands ---


def test_a_login_with_a_device_is_kept_and_told(fake: FakeApi, kept: LoginFile) -> None:
    kept.write(login(id_token_of(age_s=10_000), refresh_token=None))  # one that has ended is in nobody's way
    fake.on("POST /device", device_answer())
    fake.on("POST /token", {"id_token": id_token_of(), "refresh_token": "r"})
    made = caravan(fake, "--token", "old", "--team", "blue", "login", "--device")
    assert made.exit_code == 0, made.stderr
    assert "WDJB-MJHT" in made.stderr
    assert "logged in as alice@example.org" in made.stderr
    assert kept.read().refresh_token == "r"
    assert "Authorization" not in fake.requests[0].headers
    assert not fake.requests[0].url.params


def test_an_api_without_an_issuer_is_told_as_that(fake: FakeApi, home: Path) -> None:
    fake.on("GET /v1/login", problem(404, "Not found"))
    refused = caravan(fake, "login")
    assert (refused.exit_code, "trusts no issuer" in refused.stderr) == (3, True)


@pytest.mark.parametrize(
    ("document", "says"),
    [({**METADATA, "issuer": "https://evil.example.org"}, "another issuer"), ({}, "unusable")],
)
def test_an_issuer_that_is_not_itself_is_not_used(fake: FakeApi, home: Path, document: Any, says: str) -> None:
    fake.on("GET /.well-known/openid-configuration", document)
    refused = caravan(fake, "login", "--device")
    assert (refused.exit_code, says in refused.stderr) == (1, True)


def test_an_issuer_that_is_away_is_told_as_that(fake: FakeApi, home: Path) -> None:
    fake.on("GET /.well-known/openid-configuration", lost)
    assert caravan(fake, "login").exit_code == Unavailable.exit_code


def test_an_issuer_anybody_could_answer_for_is_not_used(fake: FakeApi, home: Path) -> None:
    fake.on("GET /v1/login", {"issuer": "http://login.example.org", "client_id": "c", "scopes": []})
    assert caravan(fake, "login").exit_code == 1
    assert len(fake.requests) == 1


def test_an_issuer_without_device_endpoint_says_so(fake: FakeApi, home: Path) -> None:
    fake.on("GET /.well-known/openid-configuration", {**METADATA, "device_authorization_endpoint": None})
    assert "has no login for devices" in caravan(fake, "login", "--device").stderr


def test_a_logout_forgets_the_login_here_and_at_the_issuer(fake: FakeApi, kept: LoginFile) -> None:
    kept.write(login(id_token_of()))
    fake.on("POST /revoke", httpx.Response(200))
    assert caravan(fake, "logout").exit_code == 0
    assert not kept.exists()
    assert [form["token"] for form in forms(fake, "/revoke")] == ["refresh-1"]
    assert caravan(fake, "logout").exit_code == 3


def test_a_logout_is_one_also_while_the_issuer_is_away(fake: FakeApi, kept: LoginFile) -> None:
    kept.write(login(id_token_of()))
    fake.on("POST /revoke", lost)
    ended = caravan(fake, "logout")
    assert (ended.exit_code, kept.exists()) == (0, False)
    assert "Warning" in ended.stderr
