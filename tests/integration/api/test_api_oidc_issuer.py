"""Tokens of a real OpenID Connect provider: discovery, keys that rotate, a provider that is away."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from caravan_api.oidc import far_end
from caravan_api.oidc.errors import IssuerAway
from caravan_api.oidc.issuers import Issuers
from caravan_api.oidc.keys import PAUSE, FetchFailed
from caravan_api.settings import Settings
from tests.integration.api.conftest import running
from tests.support.clock import ManualClock
from tests.support.nats import NatsServer
from tests.support.oidc import certificate
from tests.support.oidc.provider import Provider
from tests.support.oidc.setup import CODE_CLIENT, OTHER_CLIENT
from tests.support.oidc.tokens import claims_at, ec_key, key_set, signed

MAX_AGE_S = 60
PAUSE_S = PAUSE.total_seconds()


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    """A provider that no test changes."""
    one = Provider(tmp_path_factory.mktemp("oidc"))
    one.start()
    yield one
    one.stop()


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[Provider]:
    """A provider of the test's own, to stop and to change."""
    one = Provider(tmp_path / "oidc")
    one.start()
    yield one
    one.stop()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime.now(UTC))


def trusting(issuer: str, clock: ManualClock, **settings: Any) -> Issuers:
    """What an api with these settings takes."""
    return Issuers.configured(Settings(oidc_issuer=issuer, oidc_keys_max_age_s=MAX_AGE_S, **settings), clock)


async def test_a_providers_token_stands_for_its_user(standing: Provider, clock: ManualClock) -> None:
    identity = await trusting(standing.issuer, clock).verify(standing.id_token("alice"))
    assert identity
    assert (identity.issuer, identity.user) == (standing.issuer, "alice@example.org")
    assert identity.groups == {"platform", "oncall"}
    assert 590 < (identity.expires_at - datetime.now(UTC)).total_seconds() <= 600


async def test_an_address_that_nobody_verified_names_nobody(standing: Provider, clock: ManualClock) -> None:
    assert await trusting(standing.issuer, clock).verify(standing.id_token("mallory")) is None


async def test_a_user_without_that_claim_is_nobody_unless_another_one_is_set(
    standing: Provider, clock: ManualClock
) -> None:
    token = standing.id_token("ghost")
    assert await trusting(standing.issuer, clock).verify(token) is None
    by_subject = await trusting(standing.issuer, clock, oidc_user_claim="sub").verify(token)
    assert by_subject
    assert (by_subject.user.isdigit(), by_subject.groups) == (True, frozenset())


async def test_a_token_for_another_client_is_nobodys_here(standing: Provider, clock: ManualClock) -> None:
    token = standing.id_token("alice", OTHER_CLIENT)
    assert await trusting(standing.issuer, clock).verify(token) is None
    assert await trusting(standing.issuer, clock, oidc_client_id=OTHER_CLIENT).verify(token)


async def test_a_token_ends_when_it_says_so(standing: Provider, clock: ManualClock) -> None:
    issuers, token = trusting(standing.issuer, clock), standing.id_token()
    identity = await issuers.verify(token)
    assert identity
    clock.advance((identity.expires_at - clock.now()).total_seconds() + 31)
    assert await issuers.verify(token) is None


async def test_keys_rotate_without_anybody_being_locked_out(provider: Provider, clock: ManualClock) -> None:
    issuers, before = trusting(provider.issuer, clock), provider.id_token()
    assert await issuers.verify(before)
    provider.rotate(withdraw=False)
    clock.advance(PAUSE_S)
    after = provider.id_token()
    assert await issuers.verify(after), "a new key is fetched when it is first seen"
    assert await issuers.verify(before), "the old one is still published"
    provider.rotate(withdraw=True)
    assert await issuers.verify(after), "nobody can know yet"
    clock.advance(MAX_AGE_S)
    assert await issuers.verify(after) is None
    assert await issuers.verify(before) is None
    assert await issuers.verify(provider.id_token())


async def test_while_the_issuer_is_away_no_token_is_called_invalid(provider: Provider, clock: ManualClock) -> None:
    known, unknown_yet = trusting(provider.issuer, clock), trusting(provider.issuer, clock)
    before = provider.id_token()
    assert await known.verify(before)
    provider.rotate(withdraw=False)
    after = provider.id_token()
    provider.stop()
    clock.advance(MAX_AGE_S)
    assert await known.verify(before), "its key is known"
    for issuers, token in ((known, after), (unknown_yet, before)):
        with pytest.raises(IssuerAway, match="cannot be asked: "):
            await issuers.verify(token)
    assert await known.verify("no.token.atall") is None
    provider.start()
    clock.advance(PAUSE_S)
    assert await known.verify(after)
    assert await unknown_yet.verify(before)


async def test_an_issuer_with_a_private_authority_needs_its_file(tmp_path: Path, clock: ManualClock) -> None:
    authority, server = certificate.for_address(tmp_path)
    provider = Provider(tmp_path / "oidc", authority=authority, certificate=server)
    provider.start()
    try:
        token = provider.id_token()
        assert await trusting(provider.issuer, clock, oidc_ca_file=authority).verify(token)
        with pytest.raises(IssuerAway, match="certificate"):
            await trusting(provider.issuer, clock).verify(token)
    finally:
        provider.stop()


class Impostor:
    """No provider at all: a server that answers as a test tells it to, for all that a provider never does."""

    def __init__(self) -> None:
        self.answers: dict[str, web.Response] = {}
        self.asked: list[str] = []
        self.issuer = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path)
        if request.path == "/endless":
            endless = web.StreamResponse()
            await endless.prepare(request)
            while True:
                await endless.write(b" " * 65_536)
        return self.answers.get(request.path, web.Response(status=404))

    def describes_itself(self, **changes: str) -> None:
        document = {"issuer": self.issuer, "jwks_uri": f"{self.issuer}/keys", **changes}
        self.answers["/.well-known/openid-configuration"] = web.json_response(document)


@pytest.fixture
async def impostor() -> AsyncIterator[Impostor]:
    one = Impostor()
    app = web.Application()
    app.router.add_get("/{path:.*}", one.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    one.issuer = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield one
    await runner.cleanup()


async def test_keys_are_found_where_the_issuer_says(impostor: Impostor, clock: ManualClock) -> None:
    key = ec_key()
    impostor.describes_itself()
    impostor.answers["/keys"] = web.Response(body=key_set(key))
    token = signed(claims_at(clock.now(), iss=impostor.issuer), key)
    assert await trusting(impostor.issuer, clock).verify(token)
    assert impostor.asked == ["/.well-known/openid-configuration", "/keys"]


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ({"issuer": "https://evil.example.org"}, "names another issuer"),
        ({"jwks_uri": "http://keys.example.org/"}, "jwks_uri"),
        ({"jwks_uri": "file:///etc/passwd"}, "jwks_uri"),
    ],
)
async def test_a_discovery_document_that_is_not_the_issuers_is_not_believed(
    impostor: Impostor, document: dict[str, str], why: str
) -> None:
    impostor.describes_itself(**document)
    with pytest.raises(FetchFailed, match=why):
        await far_end.FarEnd(impostor.issuer, None).fetch()
    assert impostor.asked == ["/.well-known/openid-configuration"]


async def test_a_redirect_is_not_followed(impostor: Impostor) -> None:
    impostor.describes_itself()
    impostor.answers["/keys"] = web.Response(status=302, headers={"Location": f"{impostor.issuer}/elsewhere"})
    with pytest.raises(FetchFailed, match="answers 302"):
        await far_end.FarEnd(impostor.issuer, None).fetch()
    assert "/elsewhere" not in impostor.asked


async def test_an_answer_without_end_is_cut_short(impostor: Impostor) -> None:
    impostor.describes_itself(jwks_uri=f"{impostor.issuer}/endless")
    with pytest.raises(FetchFailed, match="without end"):
        await far_end.FarEnd(impostor.issuer, None).fetch()


async def test_an_issuer_that_hangs_is_away(impostor: Impostor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(far_end, "_TIMEOUT_S", 0.3)
    monkeypatch.setattr(far_end, "LARGEST_DOCUMENT", 2**60)
    impostor.describes_itself(jwks_uri=f"{impostor.issuer}/endless")
    with pytest.raises(FetchFailed, match="does not answer within"):
        await far_end.FarEnd(impostor.issuer, None).fetch()


async def test_everybody_is_told_where_to_log_in(tmp_path: Path, nats_server: NatsServer) -> None:
    issuer = "https://login.example.org/realms/main"
    async with running(tmp_path, nats_server, oidc_issuer=issuer, oidc_client_id="cli") as stack:
        async with stack.client(None) as nobody:
            answer = await nobody.get("/v1/login")
        scopes = ["openid", "email", "offline_access"]
        assert answer.json() == {"issuer": issuer, "client_id": "cli", "scopes": scopes}


async def test_what_somebody_may_do_is_what_their_teams_say(
    provider: Provider, tmp_path: Path, nats_server: NatsServer
) -> None:
    async with running(tmp_path, nats_server, oidc_issuer=provider.issuer, oidc_client_id=CODE_CLIENT) as stack:
        async with stack.client(provider.id_token("alice")) as alice:
            nobody = (await alice.get("/v1/whoami")).json()
            assert (nobody["user"], nobody["team"], nobody["teams"]) == ("alice@example.org", None, {})
            assert (await alice.get("/v1/clusters")).status_code == 403

            await stack.http.put("/v1/members/group/oncall", json={"role": "viewer"})
            assert (await alice.get("/v1/clusters")).status_code == 200
            assert (await alice.get("/v1/tokens", params={"team": "default"})).status_code == 200
            await stack.http.put("/v1/members/user/alice@example.org", json={"role": "developer"})
            assert (await alice.get("/v1/whoami")).json()["role"] == "developer", "the higher of the two"

            await stack.http.post("/v1/teams", json={"name": "second"})
            await stack.http.put("/v1/members/group/platform", json={"role": "owner"}, params={"team": "second"})
            unclear = await alice.get("/v1/clusters")
            assert (unclear.status_code, unclear.json()["problems"][0]["field"]) == (422, "team")
            assert (await alice.get("/v1/clusters", params={"team": "second"})).status_code == 200
            assert (await alice.get("/v1/audit", params={"team": "default"})).status_code == 403
            assert (await alice.get("/v1/audit", params={"team": "second"})).status_code == 200
            provider.stop()
            assert (await alice.get("/v1/whoami")).status_code == 200, "the issuer need not be asked each time"
        async with stack.client("no.token.atall") as stranger:
            assert (await stranger.get("/v1/whoami")).status_code == 401
