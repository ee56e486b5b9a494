"""Plans: what a request would do, without doing it. The same admission as for the request itself."""

from typing import Any

from fastapi import APIRouter
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_api.access import Caller, Viewer
from caravan_api.admission import admit
from caravan_api.doors.rest.bodies import AskPlan, merged
from caravan_api.doors.rest.context import Api, Parts, Team, find_cluster, team_of
from caravan_api.errors import Malformed
from caravan_api.offers import offered_clouds, surroundings
from caravan_api.plan import Plan, plan
from caravan_api.store import Cluster
from caravan_shared.contracts.facts import FieldProblem
from caravan_shared.contracts.spec import ClusterSpec
from caravan_shared.contracts.upgrades import hops

router = APIRouter(prefix="/v1/plans", tags=["clusters"])

# A name for plans that are asked before one is chosen.
_ANY_NAME = "unnamed"


@router.post("")
async def make_plan(body: AskPlan, caller: Viewer, api: Parts, team: Team = None) -> Plan:
    """Nodes created, changed and removed, against quota, with an estimate of the time."""
    owner = team_of(caller, team)
    async with api.db.reading() as session:
        if body.action == "create":
            return await _creation(session, api, owner, body)
        found = await _cluster(session, caller, owner, body)
        if body.action == "delete":
            return await _deletion(session, found)
        return await _change(session, api, found, body.spec or {})


async def _creation(session: AsyncSession, api: Api, team: str, body: AskPlan) -> Plan:
    name = _ANY_NAME if body.name is None else body.name
    known = name if isinstance(name, str) and name.isprintable() else None
    around = await surroundings(session, api.limits, team, name=known)
    spec = admit({"name": name, "spec": body.spec}, around)
    return plan("create", None, spec, around.clouds)


async def _change(session: AsyncSession, api: Api, cluster: Cluster, patch: dict[str, Any]) -> Plan:
    around = await surroundings(session, api.limits, cluster.team, cluster=cluster)
    spec = admit({"spec": merged(cluster.spec, patch)}, around)
    current = around.current
    assert current, "it is a change of a cluster"
    upgrades = spec.version != current.spec.version
    versions = [current.at, *hops(current.at, spec.version, around.versions)] if upgrades else []
    return plan("change", current.spec, spec, around.clouds, versions)


async def _deletion(session: AsyncSession, cluster: Cluster) -> Plan:
    clouds = await offered_clouds(session)
    return plan("delete", ClusterSpec.model_validate(cluster.spec), None, clouds)


async def _cluster(session: AsyncSession, caller: Caller, team: str, body: AskPlan) -> Cluster:
    if body.cluster is None:
        problem = f"it is missing, and there is nothing to {body.action} without it"
        raise Malformed([FieldProblem(field="cluster", problem=problem, remedy="give a cluster's id or name")])
    return await find_cluster(session, caller, body.cluster, team)
