"""The only wiring of the api: everything it is made of, on one screen."""

from datetime import timedelta
from pathlib import Path
from typing import cast
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_api import offers, reconcile
from caravan_api.access import Access, Sessions
from caravan_api.admission import Limits
from caravan_api.audit import recording
from caravan_api.census import Census
from caravan_api.decide.announce import Pauses
from caravan_api.decide.notifications import Pace
from caravan_api.desired import Desired
from caravan_api.doctor import Doctor
from caravan_api.doors.chatops.replies import Replies
from caravan_api.doors.front import build_doors
from caravan_api.doors.intake import Intake
from caravan_api.doors.rest.context import Api
from caravan_api.doors.rest.takes import Takes
from caravan_api.feed import Feed, number_on_far_above
from caravan_api.handlers import CLUSTER_FACTS, Handlers
from caravan_api.housekeeping import Housekeeping
from caravan_api.murmurs import Murmurs
from caravan_api.notifications import watch as notifications
from caravan_api.notifications.deliver import Deliverer, Terms
from caravan_api.oidc.code_flow import CodeFlow
from caravan_api.oidc.far_end import FarEnd
from caravan_api.oidc.issuers import Issuers
from caravan_api.outgoing import Outgoing
from caravan_api.pools import keys
from caravan_api.pools.bells import Bells
from caravan_api.pools.desired import DesiredPools
from caravan_api.pools.leases import Leases
from caravan_api.pools.reconcile import PoolReconciler
from caravan_api.pools.spares import SpareReconciler
from caravan_api.recorder import Recorder
from caravan_api.retention import Retention
from caravan_api.seen import Seeing
from caravan_api.settings import Settings
from caravan_api.store import Cluster, Table
from caravan_api.written import Written
from caravan_shared.contracts.events import CloudOffered, KubeconfigIssued, KubeconfigRevoked, KubernetesOffered
from caravan_shared.plumbing.service import Service
from caravan_shared.plumbing.serving import AsgiApp
from caravan_shared.plumbing.streams import Kept

MIGRATIONS = Path(__file__).with_name("migrations")


def build(settings: Settings) -> Service:
    """The api as a service, not yet running."""
    progress = Kept(settings.progress_kept_s, settings.progress_max_mib * 1024 * 1024)
    service = Service("api", settings, metadata=Table.metadata, migrations=MIGRATIONS, progress=progress)
    db, clock = service.db, service.clock
    recording.watch()
    notifications.watch()
    seeing, written = Seeing(db), Written(db)
    feed = Feed(
        db,
        written,
        poll_s=settings.feed_poll_s,
        heartbeat_s=settings.heartbeat_s,
        stream_max_s=settings.stream_max_s,
    )

    bells = Bells()

    def changed(cluster: Cluster) -> None:
        service.wake(str(cluster.id))
        if cluster.pool_id:
            service.wake(keys.spare_key(cluster.id))
            service.wake(keys.pool_key(cluster.pool_id))

    def pool_changed(pool_id: UUID, look_in_s: float = 0.0) -> None:
        bells.ring(pool_id)
        service.wake(keys.pool_key(pool_id), look_in_s)

    murmurs = Murmurs(service.bus, feed.wake)
    recorder = Recorder(clock, changed, feed.wake)
    limits = Limits(settings.max_nodes, settings.max_nodes_per_team)
    desired = Desired(recorder, limits, clock)
    handlers = Handlers(recorder, clock)
    intake = Intake(db, service.bus, clock, desired, look_every_s=settings.feed_poll_s)
    first_admin = settings.bootstrap_token.get_secret_value() if settings.bootstrap_token else None
    access = Access(db, clock, Issuers.configured(settings, clock), first_admin)
    sessions = Sessions(db, clock, access, timedelta(seconds=settings.web_session_s))
    pauses = Pauses(settings.reannounce_after_s, settings.reannounce_at_most_s, settings.reannounce_settled_s)
    leases = Leases(desired, recorder, clock, pool_changed)
    reconciler = keys.ByKind(
        {
            keys.CLUSTER: reconcile.ClusterReconciler(desired, pauses, settings.forget_nodes_s),
            keys.POOL: PoolReconciler(desired, leases),
            keys.SPARE: SpareReconciler(service.ask, recorder, pool_changed),
        }
    )

    for fact in CLUSTER_FACTS:
        service.hears(fact, handlers.cluster_fact)
    service.hears(KubeconfigIssued, handlers.kubeconfig_issued)
    service.hears(KubeconfigRevoked, handlers.kubeconfig_revoked)
    service.hears(CloudOffered, offers.cloud_offered)
    service.hears(KubernetesOffered, offers.kubernetes_offered)
    service.reconciles(reconciler.reconcile, give_up=reconciler.give_up, live_keys=_live_keys)
    service.when_restored(number_on_far_above)
    service.before_hearing(intake.subscribe)
    service.alongside("intake", intake.run)
    service.alongside("feed", feed.run)
    service.alongside("murmurs", murmurs.run)
    service.alongside("census", Census(db, service.bus, clock).run)
    retention = Retention(settings.timeline_kept_days, settings.deleted_clusters_kept_days)
    housekeeping = Housekeeping(
        db, clock, service.rounds, settings.remember_keys_s, settings.remember_chat_s, retention
    )
    service.alongside("housekeeping", housekeeping.run)
    outgoing = Outgoing(settings.chat_hosts, clock)
    replies = Replies(db, clock, service.keys, outgoing, settings.chat)
    service.alongside("chat replies", replies.run)
    terms = Terms(settings.notify_group_s, Pace(settings.notify_burst, settings.notify_every_s), settings.notify_tries)
    service.alongside("notifications", Deliverer(db, clock, service.keys, outgoing, terms).run)
    pools = DesiredPools(limits, clock, pool_changed)
    api = Api(
        settings,
        db,
        service.bus,
        clock,
        service.ask,
        service.keys.seal,
        access,
        sessions,
        _login(settings),
        desired,
        seeing,
        written,
        handlers,
        feed,
        murmurs,
        limits,
        pools,
        leases,
        Takes(db, clock, leases),
        bells,
        outgoing,
        replies,
        Doctor(db, service.bus, clock, service.ask, service.ask_all, settings.oidc_ca_file),
    )
    service.serves(cast("AsgiApp", build_doors(api)))  # the same protocol, with starlette's names for its types
    return service


def _login(settings: Settings) -> CodeFlow | None:
    issuer = settings.oidc_issuer
    return CodeFlow(issuer, FarEnd(issuer, settings.oidc_ca_file)) if issuer else None


async def _live_keys(session: AsyncSession) -> list[str]:
    return [*await reconcile.live_keys(session), *await keys.live_keys(session)]
