"""One request at a simulated kube-apiserver: who asks, may they, what do they get. Knows HTTP, not sockets."""

import asyncio
import json
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from caravan_sandbox.faults import FaultKind, Faults
from caravan_sandbox.kube import checks, discovery, protobuf
from caravan_sandbox.kube.authentication import authenticate
from caravan_sandbox.kube.authorization import Asked, User, refusal
from caravan_sandbox.kube.cluster import Cluster
from caravan_sandbox.kube.objects import Stored, dumps
from caravan_sandbox.kube.patching import MERGE_TYPES, merge_patch
from caravan_sandbox.kube.requests import (
    Form,
    Listing,
    Target,
    continue_token,
    is_dry_run,
    parse_accept,
    parse_listing,
    parse_path,
)
from caravan_sandbox.kube.reviews import review
from caravan_sandbox.kube.statuses import (
    BadRequest,
    Forbidden,
    Invalid,
    MethodNotAllowed,
    NotFound,
    ServiceUnavailable,
    StatusError,
    UnsupportedMediaType,
    success,
)
from caravan_sandbox.kube.tables import table
from caravan_sandbox.kube.views import Views
from caravan_sandbox.kube.watch import watch
from caravan_sandbox.machines import Machine

HEADERS = {"X-Caravan-Simulated": "true"}
UNKNOWN_PATH = "the server could not find the requested resource"


@dataclass(frozen=True)
class Front:
    """One kube-apiserver: the machine it runs on and the cluster it serves."""

    machine: Machine
    cluster: Cluster
    views: Views

    def facts(self) -> dict[str, str]:
        """What faults can be narrowed by."""
        return {
            "machine": self.machine.id,
            "address": self.machine.address or "",
            "endpoint": self.cluster.identity.endpoint,
        }


@dataclass(frozen=True)
class Surroundings:
    """What an apiserver needs to know of the world around it."""

    faults: Faults
    token_user: Callable[[Cluster, str], User | None]
    has_quorum: Callable[[Cluster], bool]
    flush: Callable[[], None]


class KubeApi:
    """Answers requests for any front."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._around = surroundings
        self._writes: dict[str, Callable[[Front, Target, web.Request], Awaitable[Stored | dict[str, Any]]]] = {
            "POST": self._create,
            "PUT": self._replace,
            "PATCH": self._patch,
            "DELETE": self._delete,
        }

    async def answer(self, front: Front, request: web.Request) -> web.StreamResponse:
        """The response; refusals are `Status` objects."""
        if self._around.faults.take(FaultKind.APISERVER_HANG, **front.facts()):
            await asyncio.Event().wait()  # until the client hangs up or the machine stops
        try:
            if self._around.faults.take(FaultKind.APISERVER_503, **front.facts()):
                raise ServiceUnavailable("simulated fault: the server is unavailable")
            return await self._answer(front, request)
        except StatusError as error:
            return _json(error.body(), status=error.code)

    async def _answer(self, front: Front, request: web.Request) -> web.StreamResponse:
        user = self._user(front, request)
        target = parse_path(request.path)
        watching = request.query.get("watch", "").lower() in ("1", "true")
        if target:
            asked = target.asked(request.method, watch=watching)
        else:
            asked = Asked("get" if request.method in ("GET", "HEAD") else request.method.lower(), path=request.path)
        if not front.cluster.rules.allow(user, asked):
            raise Forbidden(refusal(user, asked))
        if target is None:
            return self._plain(front, request)
        if request.method not in ("GET", "HEAD"):
            return await self._write(front, target, user, request)
        if watching:
            return await watch(request, front.cluster, target, parse_listing(request.query), HEADERS)
        if target.name:
            return self._get(front, target, request)
        return self._list(
            front, target, parse_listing(request.query), parse_accept(request.headers.get("Accept", "*/*"))
        )

    def _user(self, front: Front, request: web.Request) -> User:
        assert request.transport is not None  # aiohttp drops it only when the client is gone
        return authenticate(
            request.transport.get_extra_info("peercert"),
            request.headers.get("Authorization"),
            lambda token: self._around.token_user(front.cluster, token),
            front.cluster.now(),
        )

    def _plain(self, front: Front, request: web.Request) -> web.Response:
        parts = request.path.strip("/").split("/")
        if parts[0] in checks.CHECKS:
            return self._checks(front, request, parts[0], parts[1:])
        body = _discovered(front, parts)
        if body is None or request.method not in ("GET", "HEAD"):
            raise NotFound(UNKNOWN_PATH)
        return _json(body)

    def _checks(self, front: Front, request: web.Request, endpoint: str, which: list[str]) -> web.Response:
        failing = self._around.faults.failing_components(**front.facts())
        if not self._around.has_quorum(front.cluster):
            failing.add("etcd")
        if which:  # /readyz/etcd
            name = "/".join(which)
            if name not in checks.CHECKS[endpoint]:
                raise NotFound(UNKNOWN_PATH)
            return web.Response(
                text="internal server error: reason withheld" if name in failing else "ok",
                status=500 if name in failing else 200,
                headers=HEADERS,
            )
        excluded = set(request.query.getall("exclude", []))
        status, text = checks.report(endpoint, failing, excluded, verbose="verbose" in request.query)
        return web.Response(text=text, status=status, headers=HEADERS)

    def _get(self, front: Front, target: Target, request: web.Request) -> web.Response:
        if target.subresource not in ("", "status"):
            raise NotFound(UNKNOWN_PATH)
        stored = front.views.one(target)
        form = parse_accept(request.headers.get("Accept", "*/*"))
        if form is Form.TABLE:
            metadata = {"resourceVersion": stored.body["metadata"]["resourceVersion"]}
            include = request.query.get("includeObject") or "Metadata"
            return _json(table(target.resource, [stored], front.cluster.now(), metadata, include))
        return _raw(stored.metadata_json if form is Form.METADATA else stored.json)

    def _list(self, front: Front, target: Target, listing: Listing, form: Form) -> web.Response:
        resource, version = target.resource, str(front.cluster.version)
        whole = not (target.namespace or listing.matches or listing.limit or listing.after)
        if whole and form is not Form.TABLE:
            items = front.views.collection(target).items_json(metadata_only=form is Form.METADATA)
            return _raw(_list_json(resource.kind, resource.api_version, form, {"resourceVersion": version}, items))
        page, more = front.views.page(target, listing)
        metadata = {"resourceVersion": version}
        if more:
            metadata["continue"] = continue_token(page[-1].key)
        if form is Form.TABLE:
            return _json(table(resource, page, front.cluster.now(), metadata, listing.include))
        items = b",".join(stored.metadata_json if form is Form.METADATA else stored.json for stored in page)
        return _raw(_list_json(resource.kind, resource.api_version, form, metadata, items))

    async def _write(self, front: Front, target: Target, user: User, request: web.Request) -> web.Response:
        if not target.resource.stored:
            return _json(review(target.resource, user, front.cluster.rules, await _body(request)), status=201)
        if not self._around.has_quorum(front.cluster):
            raise ServiceUnavailable("etcdserver: request timed out")
        verb = target.asked(request.method, watch=False).verb
        if verb not in target.resource.verbs or target.subresource not in ("", "status"):
            raise MethodNotAllowed("the server does not allow this method on the requested resource")
        result = await self._writes[request.method](front, target, request)
        self._around.flush()
        status = 201 if request.method == "POST" else 200
        return _raw(result.json, status) if isinstance(result, Stored) else _json(result, status=status)

    async def _create(self, front: Front, target: Target, request: web.Request) -> Stored:
        body = _named(target, await _body(request))
        if is_dry_run(request.query):
            return Stored(body)
        return front.cluster.create(target.resource, body)

    async def _replace(self, front: Front, target: Target, request: web.Request) -> Stored:
        body = _named(target, await _body(request))
        return Stored(body) if is_dry_run(request.query) else front.cluster.replace(target.resource, body)

    async def _patch(self, front: Front, target: Target, request: web.Request) -> Stored:
        if request.content_type not in MERGE_TYPES:
            raise UnsupportedMediaType(f"the sandbox takes {' and '.join(MERGE_TYPES)}, not {request.content_type}")
        patch = await _body(request)
        body = _named(target, merge_patch(front.views.one(target).body, patch))
        if is_dry_run(request.query):
            return Stored(body)
        if "resourceVersion" not in (patch.get("metadata") or {}):
            body["metadata"].pop("resourceVersion", None)
        return front.cluster.replace(target.resource, body)

    async def _delete(self, front: Front, target: Target, request: web.Request) -> dict[str, Any]:
        stored = front.views.one(target)
        if not is_dry_run(request.query):
            namespace, name = stored.key
            front.cluster.delete(target.resource, name, namespace)
        return success(name=target.name, kind=target.resource.plural, uid=stored.body["metadata"]["uid"])


def _discovered(front: Front, parts: list[str]) -> dict[str, Any] | None:
    match parts:
        case ["version"]:
            return discovery.version_info(front.machine.kubelet_version or front.cluster.identity.version)
        case ["api"]:
            return discovery.core_versions(front.cluster.identity.endpoint)
        case ["apis"]:
            return discovery.group_list()
        case ["api", version]:
            return discovery.resource_list("", version)
        case ["apis", group]:
            return discovery.group(group)
        case ["apis", group, version]:
            return discovery.resource_list(group, version)
    return None


async def _body(request: web.Request) -> dict[str, Any]:
    raw = await request.read()
    if request.content_type == protobuf.CONTENT_TYPE:
        try:
            return protobuf.decode(raw)
        except protobuf.UnreadableProtobuf as error:
            raise UnsupportedMediaType(str(error)) from error
    if request.method != "PATCH" and request.content_type != "application/json":
        raise UnsupportedMediaType(f"the sandbox reads application/json, not {request.content_type}")
    try:
        body = json.loads(raw)
    except ValueError as error:
        raise BadRequest(f"the body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise BadRequest("the body is not an object")
    return body


def _named(target: Target, body: dict[str, Any]) -> dict[str, Any]:
    """The body with the namespace and name that its path gives it. Raises Invalid, BadRequest."""
    metadata = dict(body.get("metadata") or {})
    if target.resource.namespaced:
        if metadata.setdefault("namespace", target.namespace) != target.namespace:
            raise BadRequest("the namespace of the object does not match the namespace of the request")
    else:
        metadata.pop("namespace", None)
    if not metadata.get("name") and metadata.get("generateName"):
        metadata["name"] = metadata["generateName"] + secrets.token_hex(3)
    if not metadata.get("name"):
        raise Invalid(f"{target.resource.kind} is invalid: metadata.name: Required value")
    if target.name and metadata["name"] != target.name:
        raise BadRequest("the name of the object does not match the name on the URL")
    return {**body, "kind": target.resource.kind, "apiVersion": target.resource.api_version, "metadata": metadata}


def _list_json(kind: str, api_version: str, form: Form, metadata: dict[str, str], items: bytes) -> bytes:
    if form is Form.METADATA:
        kind, api_version = "PartialObjectMetadata", "meta.k8s.io/v1"
    head = dumps({"kind": f"{kind}List", "apiVersion": api_version, "metadata": metadata})
    return head[:-1] + b',"items":[' + items + b"]}"


def _json(body: Any, status: int = 200) -> web.Response:
    return _raw(dumps(body), status)


def _raw(body: bytes, status: int = 200) -> web.Response:
    return web.Response(body=body, status=status, content_type="application/json", headers=HEADERS)
