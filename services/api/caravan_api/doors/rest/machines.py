"""Inventories of machines that stand there already: their door, for admins alone. The provisioner keeps them."""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Self
from uuid import UUID

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator

from caravan_api.access import Admin
from caravan_api.admission.shape import describe, shown
from caravan_api.audit.recording import Action, Thing, note
from caravan_api.doors.rest.bodies import Body, LooksLike, merged
from caravan_api.doors.rest.context import (
    WORD,
    After,
    Api,
    IdempotencyKeyHeader,
    IfMatch,
    Limit,
    Page,
    Parts,
    Team,
    Word,
    must_match,
    once_elsewhere,
)
from caravan_api.errors import Conflict, Malformed, NoPrecondition, NotFound, Stale
from caravan_api.idempotency import Answer
from caravan_api.pages import decode_cursor, encode_cursor
from caravan_shared.contracts.bmc import Bmc, bmc_context
from caravan_shared.contracts.facts import FieldProblem
from caravan_shared.contracts.machines import IMPORTED_AT_ONCE, MachineEntry, MachineView
from caravan_shared.contracts.requests import (
    AskMachineChange,
    AskMachineImport,
    AskMachineRelease,
    AskMachineRemoval,
    AskMachines,
    AskOperatorKey,
    Machines,
    OperatorKey,
    Refusal,
)
from caravan_shared.contracts.requests import (
    Request as Question,
)
from caravan_shared.contracts.spec import DNS_LABEL
from caravan_shared.contracts.states import InventoryState

router = APIRouter(prefix="/v1", tags=["machines"])

_ACTIONS: Mapping[type[Question], Action] = {
    AskMachineImport: Action.CREATE,
    AskMachineChange: Action.CHANGE,
    AskMachineRelease: Action.CHANGE,
    AskMachineRemoval: Action.DELETE,
}

_LONGEST_NAME = 63


class BmcAccess(Bmc):
    """A management controller with its password, which is never shown again."""

    password: SecretStr | None = Field(None, min_length=1, max_length=128)

    @model_validator(mode="after")
    def can_be_asked(self) -> Self:
        """What is taken in now, Caravan can read; inventories of earlier releases took in more."""
        self.place()
        return self


class NewMachine(MachineEntry):
    """A machine to be taken in."""

    bmc: BmcAccess | None = None


class ImportMachines(Body):
    """Machines to be taken in, all or none."""

    machines: Annotated[Any, LooksLike(list[NewMachine])]


class ReleaseMachine(Body):
    """How a machine comes out of quarantine."""

    wipe: bool = Field(False, description="Wipe all that a cluster may have left on it; else it is only looked at.")


class MachineDetail(MachineEntry):
    """A machine of an inventory: its entry, and how it is."""

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra={})
    id: UUID
    state: InventoryState
    since: datetime
    reason: str | None
    checked_at: datetime | None
    cluster_id: UUID | None
    node: str | None
    has_bmc_password: bool
    has_power: bool
    power_problem: str | None
    etag: str


class MachinePage(Page):
    """A page of machines, by name."""

    items: list[MachineDetail]


class Key(BaseModel):
    """The line for `authorized_keys` on every machine of an inventory."""

    public: str


@router.post("/machines", status_code=201, response_model=MachinePage)
async def take_in(
    body: ImportMachines,
    request: Request,
    caller: Admin,
    api: Parts,
    key: IdempotencyKeyHeader = None,
    team: Team = None,
) -> JSONResponse:
    """Take machines in, all or none; every problem of every one is told at once. Each is checked before it is used.

    What is there already as given changes nothing, so an import may be repeated.
    """

    async def work() -> Answer:
        return Answer(201, _page(await _import(api, _rows(body.machines)), None).model_dump(mode="json"), "")

    answer = await once_elsewhere(request, caller, key, body.model_dump(), work)
    return JSONResponse(answer.body, answer.status)


@router.get("/machines")
async def list_machines(
    _caller: Admin,
    api: Parts,
    cloud: Word = None,
    machine_type: Word = None,
    state: InventoryState | None = None,
    limit: Limit = None,
    after: After = None,
    team: Team = None,
) -> MachinePage:
    """The machines of all inventories, page by page, by name."""
    (start,) = decode_cursor(after, str) if after else ("",)
    size = limit or api.settings.page_size
    asked = AskMachines(cloud=cloud, machine_type=machine_type, state=state, after=start, limit=size)
    found = await api.ask(asked, Machines)
    return _page(found, encode_cursor(found.items[-1].entry.name) if found.more else None)


@router.get("/machines/{name}")
async def get(name: str, response: Response, _caller: Admin, api: Parts, team: Team = None) -> MachineDetail:
    """One machine."""
    found = _detail(await _named(api, name))
    response.headers["ETag"] = found.etag
    return found


@router.patch("/machines/{name}", response_model=MachineDetail)
async def change(
    name: str,
    body: dict[str, Any],
    request: Request,
    caller: Admin,
    api: Parts,
    if_match: IfMatch = None,
    key: IdempotencyKeyHeader = None,
    team: Team = None,
) -> JSONResponse:
    """Change a machine's entry by a merge patch. What decides how it is reached stays while a cluster has it."""

    async def work() -> Answer:
        machine = await _named(api, name)
        if if_match is None:
            raise NoPrecondition
        _check_etag(machine, if_match)
        rows = list(_read([merged(machine.entry.model_dump(mode="json"), body)]))
        problems = [_unnumbered(problem) for row in rows for problem in row.problems]
        if problems:
            raise Malformed(problems)
        ((entry, password),) = [row.entry for row in rows if row.entry]
        if entry.name != name:
            remedy = "leave it out, or remove this machine and add another"
            raise Malformed([FieldProblem(field="name", problem="a machine keeps its name", remedy=remedy)])
        sealed = api.seal(password, bmc_context(name)) if password else None
        question = AskMachineChange(version=machine.version, entry=entry, sealed_bmc_password=sealed)
        changed = _detail((await _ask(api, question)).items[0])
        return Answer(200, changed.model_dump(mode="json"), changed.etag)

    answer = await once_elsewhere(request, caller, key, body, work)
    return JSONResponse(answer.body, answer.status, {"ETag": answer.etag})


@router.delete("/machines/{name}", status_code=204)
async def remove(name: str, _caller: Admin, api: Parts, if_match: IfMatch = None, team: Team = None) -> None:
    """Strike a machine off the inventory. Nothing is done to it; one that a cluster has cannot go."""
    machine = await _named(api, name)
    _check_etag(machine, if_match)
    await _ask(api, AskMachineRemoval(name=name, version=machine.version))


@router.post("/machines/{name}/release", status_code=202, response_model=MachineDetail)
async def release(
    name: str,
    body: ReleaseMachine,
    request: Request,
    caller: Admin,
    api: Parts,
    if_match: IfMatch = None,
    key: IdempotencyKeyHeader = None,
    team: Team = None,
) -> JSONResponse:
    """Let a machine out of quarantine: it is checked, after a wipe if you ask for one, and available if all is well."""

    async def work() -> Answer:
        machine = await _named(api, name)
        _check_etag(machine, if_match)
        question = AskMachineRelease(name=name, version=machine.version, wipe=body.wipe)
        released = _detail((await _ask(api, question)).items[0])
        return Answer(202, released.model_dump(mode="json"), released.etag)

    answer = await once_elsewhere(request, caller, key, body.model_dump(), work)
    return JSONResponse(answer.body, answer.status, {"ETag": answer.etag})


@router.get("/clouds/{cloud}/operator-key")
async def operator_key(cloud: str, _caller: Admin, api: Parts, team: Team = None) -> Key:
    """The public key that the machines of an inventory have to let in."""
    if not re.fullmatch(WORD, cloud):
        raise NotFound("there is no such cloud")
    return Key(public=(await api.ask(AskOperatorKey(cloud=cloud), OperatorKey)).public)


class _Row(BaseModel):
    """One entry of an import as far as it could be read: with its BMC's password, or with its problems."""

    entry: tuple[MachineEntry, str | None] | None = None
    problems: tuple[FieldProblem, ...] = ()


def _rows(raw: object) -> list[_Row]:
    """The entries of a body. Raises `Malformed` where it holds no list that can be read."""
    if not isinstance(raw, Sequence) or isinstance(raw, str) or not 1 <= len(raw) <= IMPORTED_AT_ONCE:
        remedy = f"give a list of 1 to {IMPORTED_AT_ONCE} machines"
        problem = f"{shown(raw)} is no list of as many machines as can be taken in at once"
        raise Malformed([FieldProblem(field="machines", problem=problem, remedy=remedy)])
    return list(_read(raw))


def _read(raw: Sequence[object]) -> Iterator[_Row]:
    for index, row in enumerate(raw):
        try:
            read = NewMachine.model_validate(row)
        except ValidationError as error:
            yield _Row(problems=tuple(describe(error.errors(include_url=False), root=f"machines.{index}")))
            continue
        told = read.model_dump(mode="json", exclude={"bmc": {"password"}})
        password = read.bmc.password.get_secret_value() if read.bmc and read.bmc.password else None
        yield _Row(entry=(MachineEntry.model_validate(told), password))


async def _import(api: Api, rows: Sequence[_Row]) -> Machines:
    """Where some rows cannot be read, the others are judged all the same, so that everything is told at once."""
    well = {index: row.entry for index, row in enumerate(rows) if row.entry}
    malformed = [problem for row in rows for problem in row.problems]
    sealed = {entry.name: api.seal(password, bmc_context(entry.name)) for entry, password in well.values() if password}
    question = AskMachineImport(
        entries=tuple(entry for entry, _ in well.values()), sealed_bmc_passwords=sealed, only_look=bool(malformed)
    )
    answer = await api.ask(question, Machines)
    positions = list(well)
    found = [*malformed, *(_renumbered(problem, positions) for problem in answer.problems)]
    if found:
        raise Malformed(sorted(found, key=lambda problem: int(problem.field.split(".")[1])))
    return answer


def _renumbered(problem: FieldProblem, positions: Sequence[int]) -> FieldProblem:
    """A problem of one of the rows that were sent on, under its place in the request."""
    _, index, field = problem.field.split(".", 2)
    return problem.model_copy(update={"field": f"machines.{positions[int(index)]}.{field}"})


def _unnumbered(problem: FieldProblem) -> FieldProblem:
    return problem.model_copy(update={"field": problem.field.removeprefix("machines.0.")})


async def _named(api: Api, name: str) -> MachineView:
    found = Machines()
    if len(name) <= _LONGEST_NAME and re.fullmatch(DNS_LABEL, name):
        found = await api.ask(AskMachines(name=name), Machines)
    if not found.items:
        raise NotFound("there is no such machine")
    return found.items[0]


async def _ask(api: Api, question: Question) -> Machines:
    """Ask the provisioner, and raise what it refuses."""
    answer = await api.ask(question, Machines)
    match answer.refusal:
        case Refusal.PROBLEMS:
            raise Malformed(answer.problems)
        case Refusal.UNKNOWN:
            raise NotFound("there is no such machine")
        case Refusal.STALE:
            raise Stale(f"{answer.reason}: read it again, then change it")
        case Refusal.STATE:
            raise Conflict(answer.reason)
    await _note(api, question, answer)
    return answer


async def _note(api: Api, question: Question, answer: Machines) -> None:
    """The machines are the provisioner's; who changed them is ours to write down."""
    entries = {machine.entry.name: machine.entry.model_dump(mode="json") for machine in answer.items}
    match question:
        case AskMachineImport(only_look=True):
            return
        case AskMachineRemoval(name=name):
            entries = {name: {}}
    async with api.db.transaction() as tx:
        for name, entry in entries.items():
            note(tx, Thing("machine", name, name, None), _ACTIONS[type(question)], entry)


def _check_etag(machine: MachineView, if_match: str | None) -> None:
    must_match(if_match, _etag(machine), f"the machine {machine.entry.name}")


def _etag(machine: MachineView) -> str:
    return f'"{machine.version}"'


def _detail(machine: MachineView) -> MachineDetail:
    seen: Mapping[str, Any] = machine.model_dump(exclude={"entry", "version"})
    return MachineDetail(**machine.entry.model_dump(), **seen, etag=_etag(machine))


def _page(found: Machines, following: str | None) -> MachinePage:
    return MachinePage(items=[_detail(machine) for machine in found.items], next=following)
