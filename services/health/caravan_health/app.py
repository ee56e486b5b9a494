"""The health service, wired: which facts it hears, and the parts that watch, side by side."""

from functools import partial
from pathlib import Path
from uuid import UUID

from caravan_health import handlers, store
from caravan_health.canary import Canary
from caravan_health.credentials import Credentials
from caravan_health.fleet import Fleet
from caravan_health.history import History
from caravan_health.lag import LoopLag
from caravan_health.monitor import Monitor
from caravan_health.onlooker import Onlooker
from caravan_health.reconcile import give_up, reconciling
from caravan_health.record import Recorder
from caravan_health.second_looks import Others
from caravan_health.settings import Settings
from caravan_health.sharing import Sharing
from caravan_health.smoke import SmokeTests
from caravan_health.target import Target
from caravan_health.watch import Watch
from caravan_shared.contracts.events import (
    BootstrapDone,
    ClusterDeleted,
    ClusterDeletionRequested,
    ClusterRequested,
    EndpointIssued,
    EndpointWithdrawn,
    NodesDrained,
    NodesJoined,
    NodesLeaving,
    NodesReady,
    NodesRemoved,
)
from caravan_shared.contracts.requests import AskSecondLooks, AskSmokeTest, SecondLooks
from caravan_shared.plumbing.database import Database
from caravan_shared.plumbing.service import Service

MIGRATIONS = Path(__file__).with_name("migrations")


def build(settings: Settings) -> Service:
    """Everything that the service touches."""
    service = Service("health", settings, metadata=store.Table.metadata, migrations=MIGRATIONS)

    monitor = monitor_for(settings)
    recorder = Recorder(service.db, service.clock, settings.instance)
    credentials = Credentials(service.ask, service.clock)
    others = Others(partial(_second_looks, service), settings.instance)
    watch = Watch(settings, monitor, credentials, service.clock, recorder.take, others.look)
    sharing = Sharing(
        service.db,
        service.clock,
        watch,
        recorder.drop,
        others.live_now,
        replica=settings.instance,
        silent_after_s=settings.replica_silent_after_s,
        spread_s=settings.probe_every_s,
    )

    service.hears(ClusterRequested, handlers.cluster_requested)
    service.hears(ClusterDeletionRequested, handlers.cluster_gone)
    service.hears(ClusterDeleted, handlers.cluster_gone)
    service.hears(EndpointIssued, handlers.endpoint_issued)
    service.hears(EndpointWithdrawn, handlers.endpoint_withdrawn)
    service.hears(BootstrapDone, handlers.bootstrap_done)
    service.hears(NodesReady, handlers.nodes_ready)
    service.hears(NodesJoined, handlers.nodes_joined)
    service.hears(NodesLeaving, handlers.nodes_leaving)
    service.hears(NodesDrained, handlers.nodes_leaving)
    service.hears(NodesRemoved, handlers.nodes_removed)
    service.answers(AskSmokeTest, SmokeTests(service.db, credentials, settings).test)
    service.answers(AskSecondLooks, Onlooker(partial(_known, service.db), monitor, settings).answer, in_person=True)

    service.reconciles(reconciling(sharing.targets_changed), give_up=give_up, live_keys=store.live_keys)
    service.alongside("monitor", monitor.run)
    service.alongside("sharing", sharing.run)
    service.alongside("probing", watch.run)
    service.alongside("second looks", others.run)
    service.alongside("recording", recorder.run)
    service.alongside("history", History(service.db, service.clock, settings).run)
    return service


async def _known(db: Database, cluster_ids: list[UUID]) -> list[Target]:
    async with db.reading() as session:
        return await store.ways_in(session, cluster_ids)


async def _second_looks(service: Service, replica: str, question: AskSecondLooks) -> SecondLooks:
    return await service.ask(question, SecondLooks, replica=replica)


def monitor_for(settings: Settings) -> Monitor:
    """The monitor's own watchers, by the settings."""
    fleet = Fleet(
        share=settings.mass_failure_share,
        at_least=settings.mass_failure_at_least,
        round_s=settings.probe_every_s + settings.probe_timeout_s,
    )
    return Monitor(LoopLag(settings.max_lag_s), Canary(settings.probe_timeout_s), fleet)
