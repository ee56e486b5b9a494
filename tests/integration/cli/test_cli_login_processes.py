"""`caravan login` as a person would do it: a real provider, a browser, and commands as processes of their own."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from caravan_cli.errors import NotAllowed
from caravan_cli.login.kept import LoginFile, login_file
from tests.support.api_process import ApiProcess
from tests.support.nats import NatsServer
from tests.support.oidc.browser import walk
from tests.support.oidc.provider import Provider
from tests.support.oidc.setup import CODE_CLIENT, DEVICE_CLIENT

pytestmark = pytest.mark.long

BROWSER = f"{sys.executable} -m tests.support.oidc.browser %s"
CHECKOUT = Path(__file__).resolve().parents[3]
TOKENS_LAST_S = 8  # short enough to see them end, long enough for a command on a busy machine


class Person:
    """Somebody at a terminal, who talks to one api."""

    def __init__(self, home: Path, url: str) -> None:
        self.home, self._url = home, url

    @property
    def kept(self) -> LoginFile:
        """Where the login is kept."""
        return login_file(self._url, self.home / ".config" / "caravan")

    def caravan(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        with self.started(*arguments, **env) as process:
            out, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def started(self, *arguments: str, **env: str) -> subprocess.Popen[str]:
        """Start a command."""
        own = {name: value for name, value in os.environ.items() if not name.startswith(("CARAVAN_", "XDG_"))}
        given = {"HOME": str(self.home), "CARAVAN_STATE_DIR": str(self.home / "none"), "BROWSER": BROWSER}
        return subprocess.Popen(
            [sys.executable, "-m", "caravan_cli", "--url", self._url, *arguments],
            env={**own, **given, "BROWSER_USER": "alice", **env},
            cwd=CHECKOUT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    """The provider, whose tokens end soon."""
    one = Provider(tmp_path_factory.mktemp("oidc"))
    one.start(tokens_last_s=TOKENS_LAST_S)
    yield one
    one.stop()


@asynccontextmanager
async def trusting(provider: Provider, client: str, folder: Path) -> AsyncIterator[str]:
    """The url of an api that takes the provider's tokens, on a bus of its own; one of its groups is in a team."""
    nats, database = NatsServer(folder / "nats"), f"sqlite+aiosqlite:///{folder}/api.db"
    nats.start()
    api = ApiProcess(folder, nats, database, oidc_issuer=provider.issuer, oidc_client_id=client)
    await api.start()
    try:
        await api.http.put("/members/group/platform", json={"role": "viewer"})
        yield api.url
    finally:
        api.kill()
        await api.http.aclose()
        nats.stop()


@pytest.fixture(scope="module")
async def url(provider: Provider, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """An api for logins with a browser."""
    async with trusting(provider, CODE_CLIENT, tmp_path_factory.mktemp("code")) as url:
        yield url


@pytest.fixture
def person(url: str, tmp_path: Path) -> Person:
    """Somebody at a terminal of their own."""
    return Person(tmp_path, url)


def test_a_login_with_a_browser_makes_commands_go_as_that_user(person: Person) -> None:
    nobody = person.caravan("whoami")
    assert nobody.returncode == NotAllowed.exit_code
    made = person.caravan("login")
    assert made.returncode == 0, made.stderr
    assert "You are logged in as Alice@Example.org" in made.stderr
    whoami = person.caravan("whoami", "-o", "json")
    who = json.loads(whoami.stdout)
    assert (who["user"], who["team"], who["role"]) == ("alice@example.org", "default", "viewer")
    assert person.caravan("cluster", "list").returncode == 0
    refused = person.caravan("cluster", "retry", "demo")
    assert (refused.returncode, "developer" in refused.stderr) == (NotAllowed.exit_code, True), refused.stderr


def test_a_login_is_renewed_by_itself_and_by_one_command_alone(person: Person) -> None:
    assert person.caravan("login").returncode == 0
    first = person.kept.read()
    time.sleep(TOKENS_LAST_S + 1)
    # The provider lets a refresh token be used once: of three commands that all used it, two would fail.
    with ThreadPoolExecutor() as pool:
        together = list(pool.map(lambda _: person.caravan("whoami"), range(3)))
    assert [each.returncode for each in together] == [0] * 3, [each.stderr for each in together]
    second = person.kept.read()
    assert second.id_token != first.id_token
    assert second.refresh_token not in (None, first.refresh_token)


def test_a_user_who_does_not_agree_is_not_logged_in(person: Person) -> None:
    refused = person.caravan("login", BROWSER_DECLINES="1")
    assert (refused.returncode, "refuses" in refused.stderr) == (NotAllowed.exit_code, True), refused.stderr
    assert not person.kept.exists()


def test_a_logout_ends_the_login_at_the_issuer_too(person: Person, provider: Provider) -> None:
    assert person.caravan("login").returncode == 0
    kept = person.kept.read()
    ended = person.caravan("logout")
    assert (ended.returncode, "Warning" in ended.stderr) == (0, False), ended.stderr
    assert not person.kept.exists()
    assert person.caravan("whoami").returncode == NotAllowed.exit_code
    form = {"grant_type": "refresh_token", "client_id": CODE_CLIENT, "refresh_token": kept.refresh_token}
    assert httpx.post(f"{provider.issuer}/token/", data=form).json()["error"] == "invalid_grant"


@pytest.fixture(scope="module")
async def device_url(provider: Provider, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """An api for logins on machines without a browser."""
    async with trusting(provider, DEVICE_CLIENT, tmp_path_factory.mktemp("device")) as url:
        yield url


@pytest.mark.parametrize("agrees", [True, False])
def test_a_login_without_a_browser_is_one_with_a_browser_elsewhere(
    device_url: str, tmp_path: Path, agrees: bool
) -> None:
    person = Person(tmp_path, device_url)
    with person.started("login", "--device") as process:
        walk(_address_in(process.stderr), "alice", decline=not agrees)
        _, said = process.communicate(timeout=60)
    assert process.returncode == (0 if agrees else NotAllowed.exit_code), said
    assert person.caravan("whoami").returncode == (0 if agrees else NotAllowed.exit_code)


def _address_in(lines: Any) -> str:
    """The address with the code in it, as soon as it is shown."""
    for line in lines:
        if found := re.search(r"http\S+user_code=\S+", line):
            return found[0]
    raise AssertionError("no address was shown")
