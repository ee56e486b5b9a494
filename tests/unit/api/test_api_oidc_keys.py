"""When an issuer is asked for its keys, and what is known while it is away."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import Key

from caravan_api.oidc.errors import IssuerAway, Untrusted
from caravan_api.oidc.keys import PAUSE, FetchFailed, IssuerKeys, Seen, fetch_is_due, read_keys
from tests.support.clock import ManualClock
from tests.support.oidc.tokens import ISSUER, ec_key, key_set

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
MAX_AGE = timedelta(minutes=5)
ONE, TWO = ec_key("one"), ec_key("two")


class Published:
    """What an issuer publishes at the moment; without keys it is away. Counts how often it was asked."""

    def __init__(self, *keys: Key) -> None:
        self.keys, self.asked = keys, 0

    async def __call__(self) -> bytes:
        self.asked += 1
        await asyncio.sleep(0)
        if not self.keys:
            raise FetchFailed("it is away")
        return key_set(*self.keys)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


def kept(published: Published, clock: ManualClock) -> IssuerKeys:
    return IssuerKeys(ISSUER, published, clock, MAX_AGE)


async def test_many_callers_at_once_ask_once(clock: ManualClock) -> None:
    published = Published(ONE)
    keys = kept(published, clock)
    found = await asyncio.gather(*(keys.find("one") for _ in range(20)))
    assert ({key.kid for key in found}, published.asked) == ({"one"}, 1)


async def test_junk_key_ids_cannot_make_us_hammer_the_issuer(clock: ManualClock) -> None:
    published = Published(ONE)
    keys = kept(published, clock)
    for second in range(100):
        clock.advance(1)
        with pytest.raises(Untrusted):
            await keys.find(f"junk-{second}")
    assert published.asked <= 100 / PAUSE.total_seconds() + 1
    assert await keys.find("one")


async def test_a_new_key_is_found_as_soon_as_it_is_needed(clock: ManualClock) -> None:
    published = Published(ONE)
    keys = kept(published, clock)
    await keys.find("one")
    published.keys = (ONE, TWO)
    clock.advance(PAUSE.total_seconds())
    assert (await keys.find("two")).kid == "two"


async def test_a_withdrawn_key_works_no_longer_than_its_age_allows(clock: ManualClock) -> None:
    published = Published(ONE, TWO)
    keys = kept(published, clock)
    await keys.find("one")
    published.keys = (TWO,)
    clock.advance(MAX_AGE.total_seconds() - 1)
    assert await keys.find("one")
    clock.advance(1)
    with pytest.raises(Untrusted):
        await keys.find("one")
    assert await keys.find("two")


async def test_known_keys_outlast_an_issuer_that_is_away_and_others_are_not_called_wrong(clock: ManualClock) -> None:
    published = Published(ONE)
    keys = kept(published, clock)
    await keys.find("one")
    published.keys = ()
    clock.advance(MAX_AGE.total_seconds() * 100)
    assert await keys.find("one")
    with pytest.raises(IssuerAway) as away:
        await keys.find("two")
    assert away.value.after == PAUSE.total_seconds()
    published.keys = (TWO,)
    clock.advance(PAUSE.total_seconds())
    assert await keys.find("two")
    with pytest.raises(Untrusted):
        await keys.find("one")


async def test_nothing_can_be_said_before_the_issuer_answered_once(clock: ManualClock) -> None:
    published = Published()
    keys = kept(published, clock)
    for _ in range(5):
        with pytest.raises(IssuerAway, match=f"{ISSUER} cannot be asked: it is away"):
            await keys.find("one")
    assert published.asked == 1


async def test_a_request_that_is_given_up_leaves_the_next_one_free_to_ask(clock: ManualClock) -> None:
    hanging = asyncio.Event()

    async def fetch() -> bytes:
        if not hanging.is_set():
            hanging.set()
            await asyncio.Event().wait()
        return key_set(ONE)

    keys = IssuerKeys(ISSUER, fetch, clock, MAX_AGE)
    first = asyncio.create_task(keys.find("one"))
    await hanging.wait()
    first.cancel()
    assert (await keys.find("one")).kid == "one"


@given(ages=st.tuples(st.integers(0, 1000), st.integers(0, 1000)), known=st.booleans(), key_id=st.sampled_from("ab"))
def test_a_fetch_needs_a_reason_and_a_pause(ages: tuple[int, int], known: bool, key_id: str) -> None:
    tried_s, fetched_s = min(ages), max(ages)  # a try may have failed since
    seen = Seen(
        keys=(ec_key("a"),) if known else None,
        fetched_at=NOW - timedelta(seconds=fetched_s) if known else None,
        tried_at=NOW - timedelta(seconds=tried_s),
    )
    paused = tried_s >= PAUSE.total_seconds()
    reason = not known or key_id == "b" or fetched_s >= MAX_AGE.total_seconds()
    assert fetch_is_due(seen, key_id, NOW, MAX_AGE) == (paused and reason)


@pytest.mark.parametrize("document", [b"", b"<html>", b"[]", b"7", b"{}", b'{"keys": {}}', b"[" * 100_000, b"\xff"])
def test_what_is_no_key_set_is_a_failure_and_not_a_withdrawal(document: bytes) -> None:
    with pytest.raises(FetchFailed):
        read_keys(document)


def test_keys_of_kinds_that_nobody_here_knows_are_passed_over() -> None:
    strange = (
        b'{"keys": [7, {"kty": "PQ"}, {"kty": "EC"}, {"kty": "RSA", "n": 5, "e": []}, {"kty": "OKP", "crv": "X"}]}'
    )
    assert read_keys(strange) == ()
