"""Credentials that this user has at hand, so that not every kubectl asks for new ones.

One file for each, its owner's alone, under a name that says nothing. Who finds one missing or too old gets the next one
while all others wait for it: several kubectl at once ask once.
"""

import fcntl
import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import BaseModel, ValidationError

from caravan_cli.cache import cache_home
from caravan_cli.context import Target
from caravan_cli.errors import Unavailable, UsageProblem
from caravan_cli.kubeconfigs import AccessRole, client_certificate
from caravan_cli.outcome import tell
from caravan_cli.private_files import write_private
from caravan_cli.views import Kubeconfig

RENEW_BEFORE = timedelta(minutes=5)
"""Of the end: for clocks that differ, and for an API that is away."""
RENEW_AT_MOST = 1 / 6
"""Of the lifetime, where that is short."""


class Credential(BaseModel):
    """A client certificate with its key, PEM texts, and from when on another one is asked for."""

    certificate: str
    key: str
    expires_at: datetime
    renew_at: datetime


def credential_of(issued: Kubeconfig, now: datetime) -> Credential:
    """What is worth keeping of an issued kubeconfig."""
    certificate, key = client_certificate(issued.kubeconfig)
    early = min(RENEW_BEFORE, (issued.expires_at - now) * RENEW_AT_MOST)
    return Credential(
        certificate=certificate, key=key, expires_at=issued.expires_at, renew_at=issued.expires_at - early
    )


def place_of(target: Target, cluster: str, role: AccessRole, ttl_s: int) -> Path:
    """The file for one person's access to one cluster. Another API, team or token is another person's."""
    who = target.token or (target.login and target.login.read().token().subject)
    told = json.dumps([target.url, target.team, who, cluster, role, ttl_s])
    return cache_home() / "credentials" / f"{hashlib.sha256(told.encode()).hexdigest()[:32]}.json"


def keep(place: Path, credential: Credential) -> None:
    """Have it at hand from now on. UsageProblem where that cannot be."""
    _make_folder(place.parent)
    write_private(place, credential.model_dump_json())


def at_hand(place: Path, ask: Callable[[], Credential]) -> Credential:
    """The credential kept there; one that is asked for now where there is none or its end is near.

    While nobody answers, one that is near its end is still good.
    """
    with _alone(place):
        kept, now = _read(place), datetime.now(UTC)
        if kept and now < kept.renew_at:
            return kept
        try:
            fresh = ask()
        except Unavailable as error:
            if kept is None or kept.expires_at <= now:
                raise
            tell(f"The credentials at hand are used until {kept.expires_at.astimezone():%H:%M:%S}: {error}")
            return kept
        keep(place, fresh)
        return fresh


def _read(place: Path) -> Credential | None:
    try:
        return Credential.model_validate_json(place.read_text())
    except (FileNotFoundError, ValidationError):  # none, or another version's: there will be a new one
        return None


@contextmanager
def _alone(place: Path) -> Iterator[None]:
    _make_folder(place.parent)
    with place.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UsageProblem(f"{folder} cannot be made: {error.strerror}. CARAVAN_CACHE names another place.") from error
