"""Find the pool that somebody means, by id or name: one of their team, or one that is shared with it."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import bindparam, or_
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from caravan_api.access import Caller
from caravan_api.errors import Conflict, Forbidden, NotFound
from caravan_api.pools.reach import is_open_to
from caravan_api.pools.store import Pool
from caravan_api.refs import could_exist, is_id

LIVE = select(Pool).where(col(Pool.deleted_at).is_(None))

# Made once: to make a statement takes as long as to execute it, and every taker needs one of these.
_BY_ID = col(Pool.id).in_(bindparam("ids", expanding=True))
_BY_NAME = col(Pool.name).in_(bindparam("names", expanding=True)) & is_open_to(bindparam("teams", expanding=True))
_MEANT = LIVE.where(or_(_BY_ID, _BY_NAME))


@dataclass(frozen=True, slots=True)
class Sought:
    """A pool that a caller names. `team`: whose the caller looks for; the own by default."""

    caller: Caller
    ref: str
    team: str | None = None

    @property
    def meant(self) -> str:
        """The team that it is looked for."""
        return self.team or self.caller.team

    @property
    def may_exist(self) -> bool:
        """False where the database need not be asked."""
        return self.caller.sees(self.meant) and could_exist(self.ref)

    def among(self, pools: Sequence[Pool]) -> Pool:
        """The pool that is meant. Raises `NotFound`, and `Conflict` for a name of several."""
        named = [pool for pool in pools if self.ref in (str(pool.id), pool.name)] if self.may_exist else []
        found = [pool for pool in named if pool.is_for(self.meant) or (self.caller.is_admin and is_id(self.ref))]
        if not found:
            raise NotFound("there is no such pool in your team, and none is shared with it")
        own = [pool for pool in found if pool.team == self.meant]
        if not own and len(found) > 1:
            problem = f"several teams share a pool called {found[0].name} with yours"
            raise Conflict(f"{problem}: name the one you mean by its id")
        return (own or found)[0]

    def taking_team(self, pool: Pool) -> str:
        """Whose a lease is: the team meant. Of pools that only an admin finds: the pool's."""
        return self.meant if pool.is_for(self.meant) else pool.team


async def find_pool(
    session: AsyncSession, caller: Caller, ref: str, team: str | None = None, *, lock: bool = False
) -> Pool:
    """The live pool of that id or name; `lock` it to change it.

    Found are those of the caller's team, and to look at and take from those that are shared with it. Raises `NotFound`,
    for any other team's pool too, `Forbidden` for changing one that is only shared, `Conflict` for a name of several.
    """
    sought = Sought(caller, ref, team)
    pool = sought.among(await candidates(session, [sought], lock=lock))
    if lock and not caller.sees(pool.team):
        raise Forbidden(f"the pool {pool.name} belongs to the team {pool.team}, which shares it with yours")
    return pool


async def candidates(session: AsyncSession, sought: Sequence[Sought], *, lock: bool = False) -> Sequence[Pool]:
    """All pools that may be meant, in one question."""
    asked = [each for each in sought if each.may_exist]
    if not asked:
        return ()
    wanted = {
        "ids": sorted({UUID(each.ref) for each in asked if is_id(each.ref)}),
        "names": sorted({each.ref for each in asked if not is_id(each.ref)}),
        "teams": sorted({each.meant for each in asked if not is_id(each.ref)}),
    }
    return (await session.exec(_MEANT.with_for_update() if lock else _MEANT, params=wanted)).all()
