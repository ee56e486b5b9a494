"""The only wiring of the bootstrapper: what it hears, what it answers, and what it does about it."""

import asyncio
from functools import partial
from pathlib import Path

from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_bootstrapper import machine_jobs, store, versions
from caravan_bootstrapper.artifacts import Artifacts
from caravan_bootstrapper.handlers import HANDLERS
from caravan_bootstrapper.machine_work import MachineWorks
from caravan_bootstrapper.members import Members
from caravan_bootstrapper.reading import Reading
from caravan_bootstrapper.reconcile import Bootstrapping
from caravan_bootstrapper.runner import Runner, runs_root
from caravan_bootstrapper.runs import Runs
from caravan_bootstrapper.settings import Settings
from caravan_bootstrapper.steps import Policy
from caravan_bootstrapper.store import Table
from caravan_bootstrapper.userdata import UserDataDesk
from caravan_shared.contracts.events import MachinesHandedOver
from caravan_shared.contracts.requests import (
    AskOperatorKey,
    AskRunLog,
    AskRuns,
    AskUserData,
    ClientCertificate,
    ClusterPki,
)
from caravan_shared.plumbing.errors import GiveUp
from caravan_shared.plumbing.reconciler import Turn
from caravan_shared.plumbing.service import Service

MIGRATIONS = Path(__file__).with_name("migrations")


def build(settings: Settings) -> Service:
    """The service, ready to run."""
    service = Service("bootstrapper", settings, metadata=Table.metadata, migrations=MIGRATIONS)
    ask_pki = partial(service.ask, reply_type=ClusterPki)
    ask_certificate = partial(service.ask, reply_type=ClientCertificate)
    root = runs_root(settings.runs_dir, settings.state_dir, settings.instance)

    runner = Runner(settings.playbooks_dir, root, max_runs=settings.max_runs, timeout_s=settings.run_timeout_s)
    artifacts = Artifacts(settings.playbooks_dir, settings.artifacts)
    runs = Runs(
        service.db,
        service.keys,
        service.clock,
        ask_pki,
        ask_certificate,
        service.wake,
        settings,
        runner,
        artifacts,
    )
    members = Members(ask_certificate, service.clock, root)
    desk = UserDataDesk(
        service.db,
        service.keys,
        service.clock,
        ask_pki,
        service.wake,
        playbooks_dir=settings.playbooks_dir,
        artifacts=artifacts,
        resolvers=settings.resolvers,
    )
    bootstrapping = Bootstrapping(_policy(settings), runs, members, service.keys)
    reading = Reading(service.db)
    works = MachineWorks(service.db, service.keys, runner, settings)

    for event_type, handler in HANDLERS.items():
        service.hears(event_type, handler)
    service.hears(MachinesHandedOver, machine_jobs.Listener(service.wake).handed_over)
    service.answers(AskUserData, desk.answer)
    service.answers(AskOperatorKey, works.operator_key)
    service.answers(AskRuns, reading.runs)
    service.answers(AskRunLog, reading.log)
    service.alongside("runs", runs.run)  # first of all, so that it clears up before anything is started
    service.alongside("members", members.run)
    service.alongside("versions", partial(_offer_versions, service, settings.playbooks_dir))
    service.reconciles(
        partial(_reconcile, bootstrapping, works), give_up=partial(_give_up, bootstrapping, works), live_keys=_live_keys
    )
    return service


async def _reconcile(bootstrapping: Bootstrapping, works: MachineWorks, turn: Turn) -> float | None:
    return await (works if machine_jobs.is_key(turn.key) else bootstrapping).reconcile(turn)


async def _give_up(bootstrapping: Bootstrapping, works: MachineWorks, turn: Turn, error: GiveUp) -> None:
    await (works if machine_jobs.is_key(turn.key) else bootstrapping).give_up(turn, error)


async def _live_keys(session: AsyncSession) -> list[str]:
    return [*await store.live_keys(session), *await machine_jobs.live_keys(session)]


def _policy(settings: Settings) -> Policy:
    return Policy(
        grace_s=settings.grace_s,
        poll_s=settings.poll_s,
        join_deadline_s=settings.join_deadline_s,
        max_attempts=settings.max_attempts,
        upgrades_in_flight=settings.upgrades_in_flight,
        upgrades_share=settings.upgrades_share,
        renew_after_s=settings.renew_after_days * 86_400,
        backup_every_s=settings.backup_every_s,
        offered=versions.read(settings.playbooks_dir),
    )


async def _offer_versions(service: Service, playbooks_dir: Path) -> None:
    await versions.offer(service.db, playbooks_dir)
    await asyncio.Event().wait()
