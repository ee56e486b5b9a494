"""The certificates that clusters are asked with: fetched from dns, kept in memory only, renewed in good time."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from uuid import UUID

from caravan_shared.contracts.requests import AskClientCertificate, ClientCertificate
from caravan_shared.plumbing.clock import Clock
from caravan_shared.plumbing.errors import CaravanError
from caravan_shared.plumbing.log import get_logger

log = get_logger(__name__)

_ASKED_AT_ONCE = 16  # after a restart every cluster needs one; dns signs a few hundred a second
_RENEW_AFTER = 2 / 3  # of the lifetime, so that dns may be away for the last third
_TRY_AGAIN_S = 15.0

Ask = Callable[[AskClientCertificate, type[ClientCertificate]], Awaitable[ClientCertificate]]


class Credentials:
    """Fetches certificates, a few at a time."""

    def __init__(self, ask: Ask, clock: Clock) -> None:
        self._ask, self._clock = ask, clock
        self._slots = asyncio.Semaphore(_ASKED_AT_ONCE)

    async def fetch(self, cluster_id: UUID) -> tuple[ClientCertificate | None, float]:
        """A new certificate, or None if there is none to be had now; and in how many seconds to fetch again."""
        async with self._slots:
            try:
                question = AskClientCertificate(cluster_id=cluster_id, purpose="health")
                certificate = await self._ask(question, ClientCertificate)
            except CaravanError as error:
                log.warning("no certificate to ask the cluster with", cluster=str(cluster_id), reason=error.reason)
                return None, _TRY_AGAIN_S
        return certificate, renew_in_s(certificate.not_after, self._clock.now())


def renew_in_s(not_after: datetime, now: datetime) -> float:
    """Seconds until a certificate issued `now` should be replaced."""
    return max(_TRY_AGAIN_S, (not_after - now).total_seconds() * _RENEW_AFTER)
