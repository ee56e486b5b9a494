"""A request's path, query and Accept header, read the way kube-apiserver reads them. Pure."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from caravan_sandbox.kube.authorization import Asked
from caravan_sandbox.kube.objects import Key
from caravan_sandbox.kube.resources import BY_PATH, NAMESPACES, Resource
from caravan_sandbox.kube.selectors import Matches, both, field_selector, label_selector
from caravan_sandbox.kube.statuses import BadRequest

_VERBS = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


class Form(Enum):
    """How the caller wants objects."""

    WHOLE = "whole"
    METADATA = "metadata"
    TABLE = "table"


@dataclass(frozen=True)
class Target:
    """A path that leads to a resource, an object or a part of one."""

    resource: Resource
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    def asked(self, method: str, *, watch: bool) -> Asked:
        """What RBAC is asked."""
        verb = _VERBS.get(method, method.lower())
        if verb in ("get", "delete") and not self.name:
            verb = {"get": "watch" if watch else "list", "delete": "deletecollection"}[verb]
        resource = self.resource
        return Asked(verb, "", resource.group, resource.plural, self.subresource, self.namespace, self.name)


@dataclass(frozen=True)
class Listing:
    """The query of a list or watch."""

    matches: Matches | None
    limit: int
    after: Key | None
    watch: bool
    resource_version: str
    timeout_s: float | None
    bookmarks: bool
    initial_events: bool
    include: str


def parse_path(path: str) -> Target | None:
    """The resource path's target; None for any other path."""
    parts = [part for part in path.split("/") if part]
    if parts[:1] == ["api"] and len(parts) >= 3:
        group, rest = "", parts[1:]
    elif parts[:1] == ["apis"] and len(parts) >= 4:
        group, rest = parts[1], parts[2:]
    else:
        return None
    version, rest = rest[0], rest[1:]
    namespace = ""
    if rest[0] == "namespaces" and len(rest) >= 3:
        resource = BY_PATH.get((group, version, rest[2]))
        if resource is not None and resource.namespaced:
            namespace, rest = rest[1], rest[2:]
    resource = BY_PATH.get((group, version, rest[0]))
    if resource is None or len(rest) > 3:
        return None
    name, subresource = (*rest[1:], "", "")[:2]
    return Target(resource, rest[1] if resource is NAMESPACES and name else namespace, name, subresource)


def parse_listing(query: Mapping[str, str]) -> Listing:
    """Raises BadRequest."""
    try:
        limit, timeout = int(query.get("limit") or 0), query.get("timeoutSeconds")
        timeout_s = float(timeout) if timeout else None
    except ValueError as error:
        raise BadRequest(f"invalid number: {error}") from error
    return Listing(
        matches=both(label_selector(query.get("labelSelector", "")), field_selector(query.get("fieldSelector", ""))),
        limit=limit,
        after=_read_continue(query["continue"]) if query.get("continue") else None,
        watch=_flag(query, "watch"),
        resource_version=query.get("resourceVersion", ""),
        timeout_s=timeout_s,
        bookmarks=_flag(query, "allowWatchBookmarks"),
        initial_events=_flag(query, "sendInitialEvents"),
        include=query.get("includeObject") or "Metadata",
    )


def continue_token(key: Key) -> str:
    """The token that goes on after an object."""
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode()


def parse_accept(accept: str) -> Form:
    """The first form of the Accept header that the sandbox can give; whole JSON where it can give none of them."""
    for media_range in accept.split(","):
        media_type, *parameters = (part.strip() for part in media_range.split(";"))
        fields = dict(parameter.split("=", 1) for parameter in parameters if "=" in parameter)
        if media_type not in ("application/json", "application/*", "*/*"):
            continue
        if fields.get("as") == "Table" and fields.get("v") == "v1":
            return Form.TABLE
        if fields.get("as", "").startswith("PartialObjectMetadata") and fields.get("v") == "v1":
            return Form.METADATA
        if "as" not in fields:
            return Form.WHOLE
    return Form.WHOLE


def is_dry_run(query: Mapping[str, str]) -> bool:
    """Whether nothing shall be stored."""
    return query.get("dryRun") == "All"


def _flag(query: Mapping[str, str], name: str) -> bool:
    return query.get(name, "").lower() in ("1", "true")


def _read_continue(token: str) -> Key:
    try:
        namespace, name = json.loads(base64.urlsafe_b64decode(token))
    except ValueError as error:
        raise BadRequest("continue is not a token of this server") from error
    return str(namespace), str(name)
