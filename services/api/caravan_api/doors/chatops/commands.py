"""What each command does: the same operations as through REST, under the same rules, in one transaction."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

from pydantic import ValidationError
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_api.access import Caller, Role, check_role
from caravan_api.admission.shape import describe
from caravan_api.doors.chatops import language, serving
from caravan_api.doors.chatops.answers import COMMAND, SURE, Answer, Button, Line
from caravan_api.doors.chatops.said import Said
from caravan_api.doors.rest.bodies import Body, CreateCluster, ExtendLease, TakeLease
from caravan_api.doors.rest.context import Api, find_cluster
from caravan_api.doors.rest.leases import find_lease
from caravan_api.errors import Conflict, Malformed, NotFound
from caravan_api.offers import offered_versions
from caravan_api.pools.finding import Sought, candidates, find_pool
from caravan_api.pools.leases import Take, Wish
from caravan_api.pools.store import Lease, Pool
from caravan_api.pools.views import pool_view, waiting_view
from caravan_api.readmodel import ClusterView, cluster_view
from caravan_api.refs import is_id
from caravan_api.store import Cluster
from caravan_api.timeline import utc
from caravan_shared.contracts.spec import WorkerSet
from caravan_shared.contracts.states import LeaseState

_MOST_LISTED = 15
_NO_WAY_BACK = "There is no way back."
B = TypeVar("B", bound=Body)


@dataclass(frozen=True, slots=True)
class Doing:
    """What every command works with."""

    api: Api
    tx: AsyncSession
    caller: Caller
    said: Said


async def do(doing: Doing, command: language.Command) -> Answer:
    """Do it, and say what came of it. Raises `CaravanError` for what is refused; then nothing is done."""
    role, act = _COMMANDS[type(command)]
    check_role(doing.caller, role)
    return await act(doing, command)


async def _lease(doing: Doing, asked: language.Lease) -> Answer:
    body = _read(TakeLease, lasts_s=asked.lasts_s, purpose=asked.purpose)
    sought = Sought(doing.caller, asked.pool)
    pool = sought.among(await candidates(doing.tx, [sought]))
    wish = Wish(body.lasts_s, body.purpose)
    lease = await doing.api.leases.take(doing.tx, Take(pool, sought.taking_team(pool), doing.caller.user, wish))
    view = await waiting_view(doing.tx, pool, lease, doing.api.clock.now())
    if view.position is None:
        return Answer("Here you are.", [serving.lease_line(lease)], _kubeconfig(doing, lease.cluster))
    soon = f", about {round(view.estimate_s / 60) or 1} min" if view.estimate_s is not None else ""
    told = doing.api.replies.when_served(doing.tx, doing.said, lease)
    later = "You are told here, within half an hour" if told else f"Look with {COMMAND} list"
    return Answer(f"No cluster is ready: you are number {view.position} in the queue{soon}. {later}.")


async def _list(doing: Doing, _asked: language.List) -> Answer:
    statement = select(Cluster).where(Cluster.team == doing.caller.team, col(Cluster.deleted_at).is_(None))
    clusters = (await doing.tx.exec(statement.order_by(col(Cluster.name)).limit(_MOST_LISTED + 1))).all()
    leases = await _own_leases(doing)
    lines = [serving.cluster_line(cluster_view(cluster)) for cluster in clusters[:_MOST_LISTED]]
    if len(clusters) > _MOST_LISTED:
        lines.append(Line("… and more: `caravan cluster list` shows all"))
    lines += [serving.lease_line(lease) for lease in leases[:_MOST_LISTED]]
    has = "has:" if lines else "has no clusters, and you have no leases."
    return Answer(f"The team {doing.caller.team} {has}", lines)


async def _status(doing: Doing, asked: language.Status) -> Answer:
    try:
        cluster = await find_cluster(doing.tx, doing.caller, asked.name, doing.caller.team)
    except NotFound:
        return await _pool_status(doing, asked.name)
    view = cluster_view(cluster)
    buttons = () if cluster.deletion_asked_at else serving.buttons_of(view)
    lines = [Line(serving.cluster_line(view).text, buttons), *map(Line, _more_of(view))]
    return Answer(f"{view.name}, Kubernetes {view.version or view.spec.version}:", lines, _kubeconfig(doing, view.name))


async def _pool_status(doing: Doing, name: str) -> Answer:
    try:
        pool = await find_pool(doing.tx, doing.caller, name, doing.caller.team)
    except NotFound as error:
        raise NotFound("there is no such cluster or pool in your team") from error
    view = await pool_view(doing.tx, pool, doing.api.clock.now())
    counts = view.clusters
    text = f"{counts.ready} ready, {counts.making} in the making, {counts.leased} leased; {view.waiting} in the queue"
    trouble = [Line(f"The last one did not come to be: {view.trouble}")] if view.trouble else []
    roll = [Line(view.roll)] if view.roll else []
    return Answer(f"The pool {view.name}:", [Line(text), *roll, *trouble])


async def _create(doing: Doing, asked: language.Create) -> Answer:
    spec: dict[str, Any] = {"version": asked.version or (await offered_versions(doing.tx))[0]}
    if asked.workers is not None:
        spec["workers"] = [{"name": WorkerSet().name, "count": asked.workers}]
    body = _read(CreateCluster, name=asked.name, spec=spec, lifetime_s=asked.lifetime_s)
    wish = {"name": body.name, "spec": body.spec}
    caller = doing.caller
    cluster = await doing.api.desired.create(doing.tx, caller.team, caller.user, wish, lifetime_s=body.lifetime_s)
    until = f", until {utc(cluster.expires_at)}" if cluster.expires_at else ""
    nodes = f"{cluster.nodes_wanted} nodes with Kubernetes {cluster.version}{until}"
    return Answer(f"{cluster.name} is asked for: {nodes}. Look with {COMMAND} status {cluster.name}.")


async def _extend(doing: Doing, asked: language.Extend) -> Answer:
    body = _read(ExtendLease, for_s=asked.for_s)
    lease, pool = await _lease_meant(doing, asked.which)
    await doing.api.leases.extend(doing.tx, pool, lease, body.for_s)
    return Answer("It ends later now.", [serving.lease_line(lease)])


async def _return(doing: Doing, asked: language.Return) -> Answer:
    lease, pool = await _lease_meant(doing, asked.which)
    if not asked.sure and lease.state != LeaseState.ENDED:
        return _question(serving.lease_line(lease).buttons[-1], _NO_WAY_BACK)
    await doing.api.leases.give_back(doing.tx, pool, lease, doing.caller.user, 0)
    return Answer(f"{lease.cluster} is given back." if lease.cluster else f"You left the queue of {lease.pool}.")


async def _hibernate(doing: Doing, asked: language.Hibernate) -> Answer:
    cluster = await find_cluster(doing.tx, doing.caller, asked.name, doing.caller.team, lock=True)
    if not asked.sure and not cluster.asleep:
        way_back = f"{COMMAND} wake {cluster.name} starts its machines again."
        return _question(serving.hibernate_button(cluster_view(cluster)), way_back)
    is_news = await doing.api.desired.hibernate(doing.tx, cluster, doing.caller.user)
    return Answer(f"{cluster.name} is being put to sleep." if is_news else f"{cluster.name} is asleep already.")


async def _wake(doing: Doing, asked: language.Wake) -> Answer:
    cluster = await find_cluster(doing.tx, doing.caller, asked.name, doing.caller.team, lock=True)
    if not await doing.api.desired.wake(doing.tx, cluster, doing.caller.user):
        return Answer(f"{cluster.name} is not asleep.")
    return Answer(f"{cluster.name} is being woken. Look with {COMMAND} status {cluster.name}.")


async def _delete(doing: Doing, asked: language.Delete) -> Answer:
    cluster = await find_cluster(doing.tx, doing.caller, asked.name, doing.caller.team, lock=True)
    if not asked.sure:
        return _question(serving.delete_button(cluster_view(cluster)), _NO_WAY_BACK)
    await doing.api.desired.delete(doing.tx, cluster, doing.caller.user)
    return Answer(f"{cluster.name} is being deleted.")


def _question(button: Button, way_back: str) -> Answer:
    """The step before what ends something, for those who typed it, and where a product's buttons ask nothing."""
    sure = Button(f"Yes: {button.label.lower()}", (*button.words, SURE))
    return Answer(button.asks or "", [Line(way_back, (sure,))])


async def _lease_meant(doing: Doing, which: str | None) -> tuple[Lease, Pool]:
    """The lease of that id, or one's only one, of that pool if it is named. Locked. Raises `NotFound`, `Conflict`."""
    if which and is_id(which):
        return await find_lease(doing.tx, doing.caller, UUID(which))
    own = [lease for lease in await _own_leases(doing) if which in (None, lease.pool)]
    of_it = f" of the pool {which}" if which else ""
    if not own:
        raise NotFound(f"you have no lease{of_it}")
    if len(own) > 1:
        names = ", ".join(f"{lease.cluster or 'in the queue'}: {lease.id}" for lease in own)
        raise Conflict(f"you have {len(own)} leases{of_it}, so name one by its id ({names})")
    return await find_lease(doing.tx, doing.caller, own[0].id)


async def _own_leases(doing: Doing) -> Sequence[Lease]:
    statement = select(Lease).where(
        Lease.team == doing.caller.team, Lease.holder == doing.caller.user, col(Lease.ended_at).is_(None)
    )
    return (await doing.tx.exec(statement.order_by(col(Lease.asked_at)))).all()


def _more_of(view: ClusterView) -> list[str]:
    told = [view.failure.reason] if view.failure else []
    if view.health and view.health.verdict != "Healthy":
        told.append(view.health.reason)
    return [*told, view.step.text] if view.step else told


def _kubeconfig(doing: Doing, cluster: str | None) -> str:
    return serving.kubeconfig_command(doing.caller.team, cluster) if cluster else ""


def _read(shape: type[B], **fields: Any) -> B:
    """The same limits as REST sets. Raises `Malformed`."""
    try:
        return shape(**fields)
    except ValidationError as error:
        raise Malformed(list(describe(error.errors(include_url=False)))) from error


_Act = Callable[[Doing, Any], Awaitable[Answer]]
_COMMANDS: Mapping[type[language.Command], tuple[Role, _Act]] = {
    language.Lease: (Role.DEVELOPER, _lease),
    language.List: (Role.VIEWER, _list),
    language.Status: (Role.VIEWER, _status),
    language.Create: (Role.DEVELOPER, _create),
    language.Extend: (Role.DEVELOPER, _extend),
    language.Return: (Role.DEVELOPER, _return),
    language.Hibernate: (Role.DEVELOPER, _hibernate),
    language.Wake: (Role.DEVELOPER, _wake),
    language.Delete: (Role.DEVELOPER, _delete),
}
