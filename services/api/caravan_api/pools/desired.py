"""What people want of pools: make one, change it, let it go. Callers hold the pool's lock and commit."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import delete
from sqlalchemy.exc import IntegrityError
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_api.admission import Limits, NotAdmitted, name_taken
from caravan_api.errors import Conflict
from caravan_api.offers import surroundings
from caravan_api.pools.spec import LONGEST_NAME, PoolName, PoolSpec, admit_pool
from caravan_api.pools.store import Pool, PoolShare
from caravan_shared.contracts.facts import FieldProblem
from caravan_shared.plumbing.clock import Clock
from caravan_shared.plumbing.database import after_commit

_NAME: TypeAdapter[str] = TypeAdapter(PoolName)


class DesiredPools:
    """Changes what is wanted; `changed` is called after each commit with the pool."""

    def __init__(self, limits: Limits, clock: Clock, changed: Callable[[UUID], None]) -> None:
        self._limits, self._clock, self._changed = limits, clock, changed

    async def create(self, tx: AsyncSession, team: str, user: str, request: Mapping[str, Any]) -> Pool:
        """Admit `{"name", "spec"}` and want that pool. Raises `NotAdmitted`, `NothingOfferedYet`."""
        problem = _name_problem(request.get("name"))
        spec = await self._admitted(tx, team, request.get("spec"), *([problem] if problem else []))
        now = self._clock.now()
        pool = Pool(
            id=uuid4(), team=team, name=str(request["name"]), created_by=user, created_at=now, updated_at=now, spec=spec
        )
        tx.add(pool)
        try:
            await tx.flush()
        except IntegrityError as error:
            raise NotAdmitted((name_taken(pool.name, "pool"),)) from error
        await _share(tx, pool)
        self._tell(tx, pool)
        return pool

    async def problems_of(self, session: AsyncSession, team: str, request: Mapping[str, Any]) -> Sequence[FieldProblem]:
        """Why `create` would refuse `{"name", "spec"}`, as far as that shows beforehand. Raises `NothingOfferedYet`."""
        problem = _name_problem(request.get("name"))
        try:
            await self._admitted(session, team, request.get("spec"), *([problem] if problem else []))
        except NotAdmitted as refused:
            return refused.problems
        return ()

    async def change(self, tx: AsyncSession, pool: Pool, spec: Mapping[str, Any]) -> None:
        """Admit a new spec and want that, unless it is wanted already. Raises `NotAdmitted`, `Conflict`."""
        if pool.deletion_asked_at:
            raise Conflict(f"the pool {pool.name} is being deleted")
        admitted = await self._admitted(tx, pool.team, spec)
        # Read as a spec: a field that this version of ours has added since is no change of anyone's.
        wanted = PoolSpec.model_validate(pool.spec).kept()
        if admitted == wanted:
            return
        pool.template_revision += _of_clusters(admitted["template"]) != _of_clusters(wanted["template"])
        pool.spec, pool.revision = admitted, pool.revision + 1
        # Whoever changes it believes to have mended what was wrong.
        pool.forget_failures()
        await _share(tx, pool)
        self._touch(tx, pool)

    async def delete(self, tx: AsyncSession, pool: Pool) -> None:
        """Want no spares any more; leases that are held run to their end. Asking twice is once."""
        if pool.deletion_asked_at is None:
            pool.deletion_asked_at, pool.revision = self._clock.now(), pool.revision + 1
            self._touch(tx, pool)

    async def _admitted(self, tx: AsyncSession, team: str, spec: object, *problems: FieldProblem) -> dict[str, Any]:
        # Whether a cluster fits beside the team's others is asked when it is made.
        around = replace(await surroundings(tx, self._limits, team), team_nodes=0, team_clusters=0)
        if not isinstance(spec, Mapping):
            raise NotAdmitted((*problems, FieldProblem(field="spec", problem="a spec is missing", remedy=_REMEDY)))
        try:
            admitted = admit_pool(spec, around)
        except NotAdmitted as refused:
            raise NotAdmitted((*problems, *refused.problems)) from refused
        if problems:
            raise NotAdmitted(problems)
        return admitted.kept()

    def _touch(self, tx: AsyncSession, pool: Pool) -> None:
        pool.updated_at = self._clock.now()
        tx.add(pool)
        self._tell(tx, pool)

    def _tell(self, tx: AsyncSession, pool: Pool) -> None:
        pool_id = pool.id
        after_commit(tx, lambda: self._changed(pool_id))


async def _share(tx: AsyncSession, pool: Pool) -> None:
    """Note who may take from it where lists look."""
    await tx.exec(delete(PoolShare).where(col(PoolShare.pool_id) == pool.id))
    tx.add_all(PoolShare(pool_id=pool.id, team=team) for team in set(pool.spec["shared_with"]))


def _of_clusters(template: Mapping[str, Any]) -> dict[str, Any]:
    """What a template says of its clusters: that a roll shall wait for no window makes none another."""
    return {**template, "maintenance": {**template["maintenance"], "at_once": None}}


_REMEDY = "give a spec with at least a template"


def _name_problem(name: object) -> FieldProblem | None:
    try:
        _NAME.validate_python(name, strict=True)
    except ValidationError:
        remedy = f"use lower-case letters, digits and '-', starting with a letter; at most {LONGEST_NAME} characters"
        problem = f"it is not a DNS label of at most {LONGEST_NAME} characters"
        return FieldProblem(field="name", problem=problem, remedy=remedy)
    return None
