"""Look at the whole installation: every service, NATS, each cloud, what expires. `decide.doctor` judges."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import nats.errors
from cryptography import x509
from nats.js import JetStreamContext
from nats.js.errors import Error as JetStreamError
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import col, select

from caravan_api.ask import Ask, AskAll
from caravan_api.decide import doctor as judge
from caravan_api.decide.doctor import Asked, Consumer, Expiring, Nats
from caravan_api.store import CloudOffer, Token
from caravan_shared.contracts.facts import Finding, FindingLevel
from caravan_shared.contracts.requests import AskCloudCheck, AskWellbeing, CloudCheck, Wellbeing
from caravan_shared.plumbing.bus import Bus
from caravan_shared.plumbing.clock import Clock
from caravan_shared.plumbing.database import Database
from caravan_shared.plumbing.errors import CaravanError
from caravan_shared.plumbing.settings import HTTP_PORTS
from caravan_shared.plumbing.streams import DEAD

SERVICES = tuple(HTTP_PORTS)


@dataclass(frozen=True, slots=True)
class Doctor:
    """Examines; changes nothing."""

    db: Database
    bus: Bus
    clock: Clock
    ask: Ask
    ask_all: AskAll
    oidc_ca_file: Path | None

    async def examine(self) -> list[Finding]:
        """All that was found, in the order of a reader's interest; what could not be looked at is a finding too."""
        parts = (
            self._part("services", self._services),
            self._part("NATS", self._nats),
            self._part("clouds", self._clouds),
            self._part("tokens", self._tokens),
            self._part("certificates", self._certificates),
        )
        return [finding for found in await asyncio.gather(*parts) for finding in found]

    async def _part(self, about: str, look: Callable[[], Awaitable[Sequence[Finding]]]) -> Sequence[Finding]:
        try:
            return await look()
        except (CaravanError, SQLAlchemyError, nats.errors.Error, JetStreamError, OSError, TimeoutError) as error:
            says = f"could not be looked at: {error or type(error).__name__}"
            return [Finding(about=about, level=FindingLevel.FATAL, says=says, mend="Mend what it names; look again.")]

    async def _services(self) -> Sequence[Finding]:
        since = self.clock.now()
        answers = await self.ask_all(AskWellbeing(), Wellbeing)
        return list(judge.of_services(SERVICES, Asked(since, self.clock.now(), answers)))

    async def _nats(self) -> Sequence[Finding]:
        js = self.bus.js
        streams, account = await js.streams_info(), await js.account_info()
        names = [str(stream.config.name) for stream in streams]
        consumers = [each for name in names for each in await _consumers(js, name)]
        dead = next((stream.state.messages for stream in streams if stream.config.name == DEAD), 0)
        most = account.limits.max_storage if account.limits else 0
        return list(judge.of_nats(Nats(len(names), consumers, dead, account.storage, most or 0)))

    async def _clouds(self) -> Sequence[Finding]:
        async with self.db.reading() as session:
            names = (await session.exec(select(CloudOffer.cloud).order_by(CloudOffer.cloud))).all()
        return [finding for found in await asyncio.gather(*map(self._cloud, names)) for finding in found]

    async def _cloud(self, name: str) -> Sequence[Finding]:
        async def look() -> Sequence[Finding]:
            return list(judge.of_cloud(await self.ask(AskCloudCheck(cloud=name), CloudCheck)))

        return await self._part(f"cloud {name}", look)

    async def _tokens(self) -> Sequence[Finding]:
        now = self.clock.now()
        soon = (col(Token.expires_at) > now, col(Token.expires_at) < now + judge.EXPIRES_SOON)
        async with self.db.reading() as session:
            rows = (await session.exec(select(Token).where(col(Token.revoked_at).is_(None), *soon))).all()
        ending = [Expiring(f"{row.user} of {row.team}", row.expires_at) for row in rows if row.expires_at]
        return list(judge.of_expiring("tokens", ending, now, "Give out new ones: `caravan token create`."))

    async def _certificates(self) -> Sequence[Finding]:
        if self.oidc_ca_file is None:
            return []
        pem = await asyncio.to_thread(self.oidc_ca_file.read_bytes)
        ending = [
            Expiring(each.subject.rfc4514_string(), each.not_valid_after_utc)
            for each in x509.load_pem_x509_certificates(pem)
        ]
        mend = f"Put the issuer's new authority into {self.oidc_ca_file}."
        return list(judge.of_expiring("issuer's authority", ending, self.clock.now(), mend))


async def _consumers(js: JetStreamContext, stream: str) -> list[Consumer]:
    return [
        Consumer(each.name, each.num_pending or 0, bool(each.num_waiting or each.num_ack_pending))
        for each in await js.consumers_info(stream)
    ]
