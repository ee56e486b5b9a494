"""Judge whether an installation is well, by what its parts say of themselves. Pure: no network, no clock."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from caravan_shared.contracts.facts import Finding, FindingLevel
from caravan_shared.contracts.requests import CloudCheck, Wellbeing

SKEW_WARNS = timedelta(seconds=1)
SKEW_IS_FATAL = timedelta(seconds=10)  # leases last 15 s: a replica that far ahead takes what others hold
UNSENT_WARNS_S = 60.0
DISK_WARNS, DISK_IS_FATAL = 0.10, 0.02  # of a file system, or of what JetStream may keep
EXPIRES_SOON = timedelta(days=14)
_NAMED = 5
"""Of many, told one by one."""


@dataclass(frozen=True)
class Asked:
    """All services were asked how they are, between these two moments."""

    since: datetime
    until: datetime
    answers: Sequence[Wellbeing]


@dataclass(frozen=True)
class Consumer:
    """A subscription as the server sees it."""

    name: str
    waiting: int
    """Events that nobody has been handed."""
    is_listened_to: bool


@dataclass(frozen=True)
class Nats:
    """What JetStream says of itself."""

    streams: int
    consumers: Sequence[Consumer]
    dead_letters: int
    bytes_used: int
    bytes_most: int
    """None or less: no limit."""


@dataclass(frozen=True)
class Expiring:
    """Something that ends by itself."""

    name: str
    at: datetime


def is_well(findings: Iterable[Finding]) -> bool:
    """True unless something has to be mended before all works again."""
    return all(finding.level is not FindingLevel.FATAL for finding in findings)


def of_services(expected: Iterable[str], asked: Asked) -> Iterator[Finding]:
    """Is each service there, in one version, with the same time, its store, its disk."""
    for service in expected:
        replicas = sorted((each for each in asked.answers if each.service == service), key=lambda each: each.instance)
        if not replicas:
            yield _fatal(service, "nobody answers", "Start it; its log says why it ended, or what it waits for.")
            continue
        troubles = [finding for replica in replicas for finding in _of_replica(replica, asked)]
        yield from troubles or [_ok(service, f"{_count(len(replicas), 'replica')}, version {replicas[0].version}")]
    versions = sorted({each.version for each in asked.answers})
    if len(versions) > 1:
        mend = "Finish the upgrade: all services are to be of one version."
        yield _warning("versions", f"{', '.join(versions)} run side by side", mend)


def of_nats(seen: Nats) -> Iterator[Finding]:
    """Are there streams, is each subscription listened to, is there room, was anything put aside."""
    yield _ok("NATS", f"{_count(seen.streams, 'stream')}, {_count(len(seen.consumers), 'subscription')}")
    for consumer in seen.consumers:
        if consumer.waiting and not consumer.is_listened_to:
            says = f"{_count(consumer.waiting, 'event')} wait and nobody listens"
            mend = "Start the service again; if it was removed for good, delete its consumer."
            yield _warning(f"subscription {consumer.name}", says, mend)
    if seen.bytes_most > 0:
        yield from _room("JetStream's store", 1 - seen.bytes_used / seen.bytes_most, "Give JetStream more room.")
    if seen.dead_letters:
        says = f"{_count(seen.dead_letters, 'message')} could not be handled"
        mend = "`caravan dead-letters list` tells why; mend the cause, then replay them."
        yield _warning("dead letters", says, mend)
    else:
        yield _ok("dead letters", "there are none")


def of_cloud(check: CloudCheck) -> Iterator[Finding]:
    """What is wrong with a cloud; else that it is usable."""
    wrong = [each for each in check.findings if each.level is not FindingLevel.OK]
    for each in wrong:
        yield each.model_copy(update={"about": f"cloud {check.cloud}: {each.about}"})
    if not wrong:
        yield _ok(f"cloud {check.cloud}", "usable")


def of_expiring(what: str, things: Sequence[Expiring], now: datetime, mend: str) -> Iterator[Finding]:
    """What has ended, and what does so soon."""
    over = [each for each in things if each.at <= now]
    soon = [each for each in things if now < each.at <= now + EXPIRES_SOON]
    if over:
        yield _fatal(what, f"expired: {_names(over)}", mend)
    if soon:
        yield _warning(what, f"about to expire: {_names(soon)}", mend)
    if not over and not soon:
        yield _ok(what, f"none expires within {EXPIRES_SOON.days} days")


def _of_replica(replica: Wellbeing, asked: Asked) -> Iterator[Finding]:
    about = f"{replica.service} ({replica.instance})"
    skew = max(asked.since - replica.now, replica.now - asked.until)
    if skew > SKEW_WARNS:
        tell = _fatal if skew > SKEW_IS_FATAL else _warning
        yield tell(about, f"its clock differs by {skew.total_seconds():.0f} s", "Have its host keep time by NTP.")
    if replica.store_problem:
        yield _fatal(about, f"its store: {replica.store_problem}", "Bring its database back.")
    elif replica.migration > replica.newest_migration:
        says = f"its store is at migration {replica.migration}, it knows {replica.newest_migration} and does without"
        yield _warning(about, says, "Replace this replica by the version that migrated its store.")
    elif replica.migration != replica.newest_migration:
        says = f"its store is at migration {replica.migration}, it knows {replica.newest_migration}"
        yield _fatal(about, says, "Replace this replica: its store was migrated by another version.")
    if replica.stuck:
        says = f"its backlog does not move: {', '.join(replica.stuck[:_NAMED])}"
        yield _fatal(about, says, "Start it again.")
    if replica.unsent_for_s > UNSENT_WARNS_S:
        says = f"its events have not left for {replica.unsent_for_s:.0f} s"
        yield _fatal(about, says, "Bring JetStream back: the outbox then sends what waits.")
    free = replica.disk_free_bytes / max(replica.disk_total_bytes, 1)
    yield from (each for each in _room(f"disk of {about}", free, "Free space.") if each.level is not FindingLevel.OK)
    for each in replica.findings:
        yield each.model_copy(update={"about": f"{replica.service}: {each.about}"})


def _room(about: str, free: float, mend: str) -> Iterator[Finding]:
    says = f"{free:.0%} is free"
    if free < DISK_IS_FATAL:
        yield _fatal(about, says, mend)
    elif free < DISK_WARNS:
        yield _warning(about, says, mend)
    else:
        yield _ok(about, says)


def _names(things: Sequence[Expiring]) -> str:
    told = [f"{each.name} ({each.at:%Y-%m-%d})" for each in sorted(things, key=lambda each: each.at)[:_NAMED]]
    more = [f"{len(things) - _NAMED} more"] if len(things) > _NAMED else []
    return ", ".join([*told, *more])


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _ok(about: str, says: str) -> Finding:
    return Finding(about=about, level=FindingLevel.OK, says=says)


def _warning(about: str, says: str, mend: str) -> Finding:
    return Finding(about=about, level=FindingLevel.WARNING, says=says, mend=mend)


def _fatal(about: str, says: str, mend: str) -> Finding:
    return Finding(about=about, level=FindingLevel.FATAL, says=says, mend=mend)
