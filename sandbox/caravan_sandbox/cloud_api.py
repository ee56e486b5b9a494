"""The simulated cloud's HTTP API: machines, consoles, power, faults. JSON in and out, one bearer token.

Every answer carries `X-Caravan-Simulated: true`. Errors are `{"error": {"code": …, "message": …}}`.
"""

import hmac
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any, TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from caravan_sandbox.cloud import Cloud, NotRunning, Ordered, QuotaExceeded, UnknownMachineType
from caravan_sandbox.console import CommandFailed, Console, NotReachable
from caravan_sandbox.faults import Fault, FaultKind, Faults
from caravan_sandbox.kube.times import micro_timestamp, timestamp
from caravan_sandbox.machines import MACHINE_TYPES, Machine
from caravan_sandbox.store import Store

BATCH = 100  # names in one order, as clouds limit bulk creates
PAGE = 1000
RETRY_AFTER_S = 1
MAX_BODY = 8 * 1024 * 1024
_OPEN = {"GET /livez", "GET /readyz"}  # to whoever asks, without a token

B = TypeVar("B", bound=BaseModel)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Order(_Body):
    names: list[str] = Field(min_length=1, max_length=BATCH)
    machine_type: str
    tags: dict[str, str] = Field(default_factory=dict)
    user_data: str | None = None


class _Deletion(_Body):
    ids: list[str]


class _Command(_Body):
    command: str
    arguments: dict[str, Any] = Field(default_factory=dict)


class _Power(_Body):
    on: bool


class _PowerOfMany(_Power):
    ids: list[str]


class _Reboot(_Body):
    id: str


class _Fault(BaseModel):
    model_config = ConfigDict(extra="allow")
    kind: FaultKind
    times: int | None = Field(1, ge=1)


class ApiError(Exception):
    """A refusal with its status."""

    def __init__(self, status: int, code: str, message: str, **facts: Any) -> None:
        super().__init__(message)
        self.status = status
        self.error = {"code": code, "message": message, **facts}


class CloudApi:
    """The application; `calls` counts requests by route, for tests that count."""

    def __init__(self, cloud: Cloud, console: Console, faults: Faults, store: Store, token: str) -> None:
        self.calls: Counter[str] = Counter()
        self._cloud, self._console, self._faults, self._store = cloud, console, faults, store
        self._token = token

    def app(self) -> web.Application:
        """The web application."""
        app = web.Application(middlewares=[self._guard], client_max_size=MAX_BODY)
        app.add_routes(
            [
                web.get("/livez", self._alive),
                web.get("/readyz", self._alive),
                web.get("/v1/cloud", self._describe),
                web.post("/v1/machines", self._create),
                web.get("/v1/machines", self._list),
                web.post("/v1/machines/delete", self._delete),
                web.post("/v1/machines/power", self._power_many),
                web.post("/v1/machines/reboot", self._reboot),
                web.post("/v1/machines/{id}/commands", self._command),
                web.post("/v1/machines/{id}/power", self._power),
                web.post("/v1/faults", self._order_fault),
                web.delete("/v1/faults", self._clear_faults),
                web.get("/v1/calls", self._count_calls),
            ]
        )
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Count, check the token, strike with ordered faults, and word errors."""
        resource = request.match_info.route.resource
        route = f"{request.method} {resource.canonical if resource else request.path}"
        try:
            if route not in _OPEN:
                self._check_token(request)
            if request.path.startswith("/v1/machines") or request.path == "/v1/cloud":
                self.calls[route] += 1
                if self._faults.take(FaultKind.API_503):
                    raise _unavailable()
            response = await handler(request)
        except ApiError as error:
            response = _answer({"error": error.error}, error.status)
            if error.status == 503:
                response.headers["Retry-After"] = str(RETRY_AFTER_S)
        except web.HTTPException as error:
            response = _answer({"error": {"code": "no_such_route", "message": error.reason}}, error.status)
        response.headers["X-Caravan-Simulated"] = "true"
        return response

    def _check_token(self, request: web.Request) -> None:
        given = request.headers.get("Authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {self._token}".encode()):
            raise ApiError(401, "unauthorized", "the bearer token is not CARAVAN_SANDBOX_TOKEN")

    async def _alive(self, request: web.Request) -> web.StreamResponse:
        return web.Response(text="ok (simulated cloud)")

    async def _describe(self, request: web.Request) -> web.StreamResponse:
        settings = self._cloud.settings
        return _answer(
            {
                "simulated": True,
                "machine_types": [asdict(machine_type) for machine_type in MACHINE_TYPES.values()],
                "quota": {"machines_limit": settings.machines_limit, "machines_used": len(self._cloud.machines)},
                "seconds_to_boot": settings.vm_boot_s,
            }
        )

    async def _create(self, request: web.Request) -> web.StreamResponse:
        order = await _read(request, _Order)
        if self._faults.take(FaultKind.CREATE_ERROR):
            raise _unavailable()
        ordered = Ordered(tuple(order.names), order.machine_type, order.tags, order.user_data)
        try:
            machines = self._cloud.create(ordered)
        except UnknownMachineType as error:
            raise ApiError(400, "unknown_machine_type", f"{error} is none of {', '.join(MACHINE_TYPES)}") from error
        except QuotaExceeded as error:
            message = f"{error.need} machines were asked for, the quota has {error.free} left"
            facts = {"resource": "machines", "need": error.need, "free": error.free}
            raise ApiError(403, "quota_exceeded", message, **facts) from error
        self._store.flush()
        if self._faults.take(FaultKind.CREATE_LOST_REPLY):
            _hang_up(request)
        return _answer({"machines": [_told(machine) for machine in machines]}, 202)

    async def _list(self, request: web.Request) -> web.StreamResponse:
        tags = dict(tag.partition("=")[::2] for tag in request.query.getall("tag", []))
        try:
            limit = min(int(request.query.get("limit", PAGE)), PAGE)
        except ValueError as error:
            raise ApiError(400, "bad_request", "limit has to be a number") from error
        page, following = self._cloud.find(tags, limit, request.query.get("after", ""))
        return _answer({"machines": [_told(machine) for machine in page], "next": following})

    async def _delete(self, request: web.Request) -> web.StreamResponse:
        self._cloud.delete((await _read(request, _Deletion)).ids)
        self._store.flush()
        return _answer({}, 202)

    async def _command(self, request: web.Request) -> web.StreamResponse:
        machine, wanted = self._machine(request), await _read(request, _Command)
        try:
            changed, result = await self._console.run(machine, wanted.command, wanted.arguments)
        except NotReachable as error:
            raise ApiError(409, error.code, str(error)) from error
        except CommandFailed as error:
            raise ApiError(422, error.code, str(error)) from error
        return _answer({"changed": changed, "result": result})

    async def _power(self, request: web.Request) -> web.StreamResponse:
        machine, wanted = self._machine(request), await _read(request, _Power)
        self._cloud.power(machine, on=wanted.on)
        self._store.flush()
        return _answer(_told(machine), 202)

    async def _power_many(self, request: web.Request) -> web.StreamResponse:
        wanted = await _read(request, _PowerOfMany)
        for machine in filter(None, map(self._cloud.machines.get, wanted.ids)):
            self._cloud.power(machine, on=wanted.on)
        self._store.flush()
        return _answer({}, 202)

    async def _reboot(self, request: web.Request) -> web.StreamResponse:
        machine = self._cloud.machines.get((await _read(request, _Reboot)).id)
        if machine is None:
            raise _unknown()
        if self._faults.take(FaultKind.MACHINE_LOCKED, name=machine.name):
            raise ApiError(409, "locked", "simulated fault: the machine is locked")
        try:
            self._cloud.reboot(machine)
        except NotRunning as error:
            raise ApiError(409, "not_running", f"{error} does not run") from error
        self._store.flush()
        if self._faults.take(FaultKind.REBOOT_LOST_REPLY, name=machine.name):
            _hang_up(request)
        return _answer(_told(machine), 202)

    async def _order_fault(self, request: web.Request) -> web.StreamResponse:
        fault = await _read(request, _Fault)
        where = {name: str(value) for name, value in (fault.model_extra or {}).items()}
        self._faults.order(Fault(fault.kind, fault.times, where))
        return _answer({"kind": fault.kind, "times": fault.times, "where": where}, 201)

    async def _clear_faults(self, request: web.Request) -> web.StreamResponse:
        self._faults.clear()
        return _answer({})

    async def _count_calls(self, request: web.Request) -> web.StreamResponse:
        return _answer(dict(self.calls))

    def _machine(self, request: web.Request) -> Machine:
        machine = self._cloud.machines.get(request.match_info["id"])
        if machine is None:
            raise _unknown()
        return machine


def _told(machine: Machine) -> dict[str, Any]:
    return {
        "id": machine.id,
        "name": machine.name,
        "state": machine.state,
        "address": machine.address,
        "tags": machine.tags,
        "machine_type": machine.machine_type,
        "created_at": timestamp(machine.created_at),
        "boots_at": micro_timestamp(machine.boots_at),
        "fault": machine.fault,
        "powered_on": machine.powered_on,
        "running": machine.running,
        "deleting": machine.gone_at is not None,
    }


async def _read(request: web.Request, body: type[B]) -> B:
    try:
        return body.model_validate_json(await request.read())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ApiError(400, "bad_request", f"{where}: {first['msg']}") from error


def _answer(body: dict[str, Any], status: int = 200) -> web.Response:
    return web.Response(text=json.dumps(body), status=status, content_type="application/json")


def _unavailable() -> ApiError:
    return ApiError(503, "unavailable", "simulated fault: the cloud is not available")


def _unknown() -> ApiError:
    return ApiError(404, "no_such_machine", "there is no such machine")


def _hang_up(request: web.Request) -> None:
    """Drop the connection: the caller can't know whether the order was taken."""
    if request.transport is not None:
        request.transport.close()
