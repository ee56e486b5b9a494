"""An issuer's public keys: kept, and fetched again when that may help, but never more often than the issuer can bear.

A key that is not known may be a new one and is looked for at once. Junk with made-up key ids would have us ask without
end, so there is a pause between two fetches, whatever came of the first. Keys grow old, so that one that was withdrawn
stops working. While the issuer is away the known ones stay: no token becomes invalid by that.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, JWKRegistry, Key, OKPKey, RSAKey

from caravan_api.oidc.errors import IssuerAway, Untrusted
from caravan_shared.plumbing.clock import Clock
from caravan_shared.plumbing.log import get_logger

PAUSE = timedelta(seconds=10)
"""Between two fetches: a rotation is noticed within it, even while somebody sends junk."""

_LEAST_RSA_BITS = 2048  # RFC 7518, section 3.3
_KINDS = (RSAKey.key_type, ECKey.key_type, OKPKey.key_type)

log = get_logger(__name__)

KeySet = tuple[Key, ...]


class FetchFailed(Exception):
    """The keys could not be fetched. The text is the end of a sentence."""


Fetch = Callable[[], Awaitable[bytes]]
"""Gets the issuer's JWK Set (RFC 7517). Raises FetchFailed."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of an issuer's keys: the last ones, of when, and how the last try to fetch them went."""

    keys: KeySet | None = None
    fetched_at: datetime | None = None
    tried_at: datetime | None = None
    failed: str | None = None


class IssuerKeys:
    """The keys of one issuer. `max_age` is how long a withdrawn one may still work."""

    def __init__(self, issuer: str, fetch: Fetch, clock: Clock, max_age: timedelta) -> None:
        self._issuer, self._fetch, self._clock, self._max_age = issuer, fetch, clock, max_age
        self._seen = Seen()
        self._fetching = asyncio.Lock()

    async def find(self, key_id: str | None) -> Key:
        """The key of that id. Raises Untrusted if there is none, IssuerAway if nobody can tell."""
        if self._is_due(key_id):
            async with self._fetching:
                if self._is_due(key_id):
                    await self._refresh()
        return self._found(key_id)

    def _is_due(self, key_id: str | None) -> bool:
        return fetch_is_due(self._seen, key_id, self._clock.now(), self._max_age)

    async def _refresh(self) -> None:
        before, now = self._seen, self._clock.now()
        try:
            keys = read_keys(await self._fetch())
        except FetchFailed as error:
            log.warning("issuer away", issuer=self._issuer, why=str(error), keys_known=before.keys is not None)
            self._seen = Seen(before.keys, before.fetched_at, tried_at=now, failed=str(error))
        else:
            self._seen = Seen(keys, fetched_at=now, tried_at=now)

    def _found(self, key_id: str | None) -> Key:
        key = pick(self._seen.keys or (), key_id)
        if key:
            return key
        if self._seen.failed:
            raise IssuerAway(self._issuer, self._seen.failed, after=PAUSE.total_seconds())
        raise Untrusted("no key of its issuer has signed it")


def fetch_is_due(seen: Seen, key_id: str | None, now: datetime, max_age: timedelta) -> bool:
    """Whether to fetch keys before one of this id is looked for."""
    if seen.tried_at and now - seen.tried_at < PAUSE:
        return False
    if seen.keys is None or seen.fetched_at is None:
        return True
    return now - seen.fetched_at >= max_age or pick(seen.keys, key_id) is None


def pick(keys: KeySet, key_id: str | None) -> Key | None:
    """The key of that id; a token that names none can only mean the only one."""
    if key_id is None:
        return keys[0] if len(keys) == 1 else None
    return next((key for key in keys if key.kid == key_id), None)


def read_keys(document: bytes) -> KeySet:
    """The keys of a JWK Set that may sign tokens; others are passed over. Raises FetchFailed for what is none."""
    try:
        found = json.loads(document)["keys"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise FetchFailed("it answers with something else than keys") from error
    if not isinstance(found, list):
        raise FetchFailed("it answers with something else than keys")
    return tuple(key for each in found if (key := _read_key(each)))


def _read_key(entry: Any) -> Key | None:
    if not isinstance(entry, dict) or entry.get("kty") not in _KINDS or entry.get("use", "sig") != "sig":
        return None
    try:
        key = JWKRegistry.import_key(entry)
    except (JoseError, ValueError, TypeError) as error:
        log.warning("an issuer's key is unusable", key_id=str(entry.get("kid"))[:200], why=str(error)[:200])
        return None
    if isinstance(key, RSAKey) and key.public_key.key_size < _LEAST_RSA_BITS:
        log.warning("an issuer's key is too short", key_id=str(key.kid)[:200], bits=key.public_key.key_size)
        return None
    return key
