"""The REST API as Python: one method a route, typed answers, and errors from `errors` for everything that fails."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import quote
from uuid import uuid4

import httpx
from pydantic import ValidationError

from caravan_cli.context import Target
from caravan_cli.errors import CliError, Problem, Unavailable, from_problem
from caravan_cli.login.renewal import Renewing
from caravan_cli.sse import OpenStream
from caravan_cli.views import (
    Cluster,
    Grant,
    Kubeconfig,
    Lease,
    LogPage,
    Node,
    Page,
    Plan,
    Pool,
    RevokedAccess,
    Run,
    TakenLease,
    TimelineEntry,
)

TIMEOUT_S = 30.0  # one call; a long list on a busy laptop takes a few seconds
SILENCE_S = 45.0  # a stream without even a heartbeat (every 15 s) for this long is dead
BRIEF_S = 10.0  # one call where somebody else waits for us meanwhile
PAGE_SIZE = 500
PAUSES_S = (0.2, 0.5, 1.0)  # between tries of calls that are safe to repeat; an api that restarts takes a second or two

Json = dict[str, Any]
Action = Literal["create", "change", "delete"]


class Client:
    """A client for one target. Safe to use from one thread at a time."""

    def __init__(self, target: Target, *, transport: httpx.BaseTransport | None = None) -> None:
        self.target = target
        headers = {"Accept": "application/json", "User-Agent": "caravan-cli"}
        if target.token:
            headers["Authorization"] = f"Bearer {target.token}"
        auth = Renewing(target.login, transport) if target.login else None
        self._http = httpx.Client(
            base_url=target.url, headers=headers, auth=auth, timeout=TIMEOUT_S, transport=transport
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    # --- clusters ---

    def create(self, name: str, spec: Json, lifetime_s: int | None = None) -> Cluster:
        """Ask for a cluster. Tries again under one Idempotency-Key, so it is never made twice."""
        body: Json = {"name": name, "spec": spec}
        if lifetime_s is not None:
            body["lifetime_s"] = lifetime_s
        return Cluster.model_validate(
            self._call("POST", "/v1/clusters", body, headers={"Idempotency-Key": str(uuid4())})
        )

    def clusters(self, filters: Mapping[str, str]) -> Iterator[Cluster]:
        """Every cluster that the filters (`phase`, `health`, `version`, `cloud`, `q`, `sort`) let through."""
        for item in self._pages("/v1/clusters", filters):
            yield Cluster.model_validate(item)

    def cluster(self, name: str) -> Cluster:
        """One cluster by name or id."""
        return Cluster.model_validate(self._call("GET", _cluster(name)))

    def delete(self, name: str) -> Cluster:
        """Ask for a cluster's end."""
        return Cluster.model_validate(self._call("DELETE", _cluster(name)))

    def retry(self, name: str) -> Cluster:
        """Lift a cluster's failure."""
        return Cluster.model_validate(self._call("POST", f"{_cluster(name)}/retry", {}))

    def hibernate(self, name: str) -> Cluster:
        """Put a cluster to sleep."""
        return Cluster.model_validate(self._call("POST", f"{_cluster(name)}/hibernate", {}))

    def wake(self, name: str) -> Cluster:
        """Wake a cluster."""
        return Cluster.model_validate(self._call("POST", f"{_cluster(name)}/wake", {}))

    def replace_node(self, name: str, node: str, reason: str | None) -> Cluster:
        """Ask for another node in this one's place. Tries again under one Idempotency-Key."""
        path = f"{_cluster(name)}/nodes/{quote(node, safe='')}/replace"
        headers = {"Idempotency-Key": str(uuid4())}
        return Cluster.model_validate(self._call("POST", path, {"reason": reason}, headers=headers))

    def scale(self, name: str, node_set: str, count: int) -> Cluster:
        """Ask for another number of nodes in a set."""
        path = f"{_cluster(name)}/node-sets/{quote(node_set, safe='')}"
        return Cluster.model_validate(self._call("PATCH", path, {"count": count}))

    def change(self, name: str, patch: Json, *, etag: str) -> Cluster:
        """Merge a patch (RFC 7396) into the spec, unless the cluster changed since `etag`."""
        return Cluster.model_validate(self._call("PATCH", _cluster(name), {"spec": patch}, headers={"If-Match": etag}))

    def plan(
        self, action: Action, *, name: str | None = None, cluster: str | None = None, spec: Json | None = None
    ) -> Plan:
        """What creating `name`, or changing or deleting `cluster`, would do."""
        body = {"action": action, "name": name, "cluster": cluster, "spec": spec}
        told = {key: value for key, value in body.items() if value is not None}
        return Plan.model_validate(self._call("POST", "/v1/plans", told))

    # --- parts of a cluster ---

    def nodes(self, name: str, filters: Mapping[str, str]) -> Iterator[Node]:
        """Every node of a cluster that the filters (`node_set`, `state`) let through."""
        for item in self._pages(f"{_cluster(name)}/nodes", filters):
            yield Node.model_validate(item)

    def timeline(self, name: str, *, limit: int) -> tuple[TimelineEntry, ...]:
        """What happened last to a cluster, in the order in which it happened."""
        body = self._call("GET", f"{_cluster(name)}/timeline", query={"limit": str(limit)})
        entries = Page[TimelineEntry].model_validate(body).items
        return tuple(sorted(entries, key=lambda entry: entry.id))

    def runs(self, name: str, *, limit: int) -> tuple[Run, ...]:
        """What was executed on a cluster, newest first."""
        body = self._call("GET", f"{_cluster(name)}/runs", query={"limit": str(limit)})
        return Page[Run].model_validate(body).items

    def log_page(self, name: str, run: str, place: Mapping[str, str]) -> LogPage:
        """A part of what was printed in a run: that at a place which another part names, or the end."""
        path = f"{_cluster(name)}/runs/{quote(run, safe='')}/log"
        answer = self._answer("GET", path, query=place)
        before, after = (answer.links.get(rel, {}).get("url") for rel in ("prev", "next"))
        return LogPage(answer.text, *(dict(httpx.URL(url).params) if url else None for url in (before, after)))

    def kubeconfig(self, name: str, *, role: str, ttl_s: int) -> Kubeconfig:
        """A new kubeconfig for the caller."""
        body = {"role": role, "ttl_s": ttl_s}
        return Kubeconfig.model_validate(self._call("POST", f"{_cluster(name)}/kubeconfig", body))

    def grants(self, user: str | None) -> Iterator[Grant]:
        """Every kubeconfig that was issued, to one person or to all, newest first."""
        for item in self._pages("/v1/grants", {"user": user} if user else {}):
            yield Grant.model_validate(item)

    def revoke_grant(self, cluster: str, grant: str) -> None:
        """Take one kubeconfig back."""
        self._call("DELETE", f"{_cluster(cluster)}/grants/{quote(grant, safe='')}")

    def revoke_all(self, user: str) -> RevokedAccess:
        """Take all that a person holds back."""
        return RevokedAccess.model_validate(self._call("DELETE", "/v1/grants", query={"user": user}))

    def limit_lifetime(self, name: str, lifetime_s: int | None) -> Cluster:
        """Have a cluster deleted by itself in so many seconds from now; None: never."""
        return Cluster.model_validate(self._call("PUT", f"{_cluster(name)}/lifetime", {"lifetime_s": lifetime_s}))

    # --- pools and leases ---

    def create_pool(self, name: str, spec: Json) -> Pool:
        """Ask for a pool. Tries again under one Idempotency-Key, so it is never made twice."""
        body = {"name": name, "spec": spec}
        return Pool.model_validate(self._call("POST", "/v1/pools", body, headers={"Idempotency-Key": str(uuid4())}))

    def pools(self) -> Iterator[Pool]:
        """Every pool."""
        for item in self._pages("/v1/pools", {}):
            yield Pool.model_validate(item)

    def pool(self, name: str) -> Pool:
        """One pool by name or id."""
        return Pool.model_validate(self._call("GET", _pool(name)))

    def change_pool(self, name: str, patch: Json, *, etag: str) -> Pool:
        """Merge a patch (RFC 7396) into the spec, unless the pool changed since `etag`."""
        headers = {"If-Match": etag, "Idempotency-Key": str(uuid4())}
        return Pool.model_validate(self._call("PATCH", _pool(name), {"spec": patch}, headers=headers))

    def delete_pool(self, name: str, *, etag: str) -> Pool:
        """Ask for a pool's end, unless it changed since `etag`."""
        # The key answers a repetition; the etag alone would refuse it, as the first try changed it.
        headers = {"If-Match": etag, "Idempotency-Key": str(uuid4())}
        return Pool.model_validate(self._call("DELETE", _pool(name), headers=headers))

    def take_lease(self, pool: str, wish: Json) -> TakenLease:
        """Ask for a cluster of a pool. Tries again under one Idempotency-Key, so two are never taken."""
        headers = {"Idempotency-Key": str(uuid4())}
        return TakenLease.model_validate(self._call("POST", f"{_pool(pool)}/leases", wish, headers=headers))

    def leases(self, filters: Mapping[str, str]) -> Iterator[Lease]:
        """Every lease that the filters (`pool`, `state`, `holder`) let through; ended ones if `state` says so."""
        for item in self._pages("/v1/leases", filters):
            yield Lease.model_validate(item)

    def lease(self, lease: str, *, wait_s: int = 0) -> Lease:
        """One lease: as soon as it waits no more, or after `wait_s`."""
        query = {"wait_s": str(wait_s)} if wait_s else None
        return Lease.model_validate(self._call("GET", _lease(lease), query=query, timeout_s=TIMEOUT_S + wait_s))

    def extend_lease(self, lease: str, for_s: int | None) -> Lease:
        """Have a lease end later, by `for_s` or by as much as it was taken for. A repeated call adds up to nothing."""
        body = {} if for_s is None else {"for_s": for_s}
        headers = {"Idempotency-Key": str(uuid4())}
        return Lease.model_validate(self._call("POST", f"{_lease(lease)}/extend", body, headers=headers))

    def heartbeat(self, lease: str) -> Lease:
        """Say that a lease's holder is still there."""
        return Lease.model_validate(self._call("POST", f"{_lease(lease)}/heartbeat", {}, timeout_s=BRIEF_S))

    def return_lease(self, lease: str, *, keep_s: int = 0) -> Lease:
        """Give a lease back, its cluster left for `keep_s`. Asking again is fine."""
        query = {"keep_s": str(keep_s)} if keep_s else None
        return Lease.model_validate(self._call("DELETE", _lease(lease), query=query, timeout_s=BRIEF_S))

    # --- teams, members, tokens, the audit ---

    def create_team(self, name: str, quota: Json) -> Json:
        """Make a team; `quota` holds `max_clusters`, `max_nodes`, `max_leases` as far as they are limited."""
        return self._call("POST", "/v1/teams", {"name": name, **quota})

    def teams(self) -> list[Json]:
        """Every team that the caller belongs to; an admin's: all."""
        return list(self._pages("/v1/teams", {}))

    def team(self, name: str) -> Json:
        """One team, and what it has of its quota."""
        return self._call("GET", _team(name))

    def change_team(self, name: str, quota: Json) -> Json:
        """Change what is named of a team's quota; None lifts a limit."""
        return self._call("PATCH", _team(name), quota)

    def delete_team(self, name: str) -> None:
        """Dissolve a team that has nothing any more."""
        self._call("DELETE", _team(name))

    def members(self) -> list[Json]:
        """Who belongs to the team."""
        return list(self._call("GET", "/v1/members")["items"])

    def place_member(self, kind: str, name: str, role: str) -> Json:
        """Add somebody to the team, or change what they may do."""
        return self._call("PUT", f"/v1/members/{kind}/{quote(name, safe='')}", {"role": role})

    def remove_member(self, kind: str, name: str) -> None:
        """Take somebody out of the team."""
        self._call("DELETE", f"/v1/members/{kind}/{quote(name, safe='')}")

    def issue_token(self, wish: Json, team: str | None) -> Json:
        """A new bearer token. Never repeated: a lost answer would leave one that nobody knows."""
        return self._call("POST", "/v1/tokens", wish, query={"team": team} if team else None)

    def tokens(self) -> list[Json]:
        """Every token that was not revoked, without its text."""
        return list(self._call("GET", "/v1/tokens")["items"])

    def revoke_token(self, token: str) -> None:
        """Make a token void at once."""
        self._call("DELETE", f"/v1/tokens/{quote(token, safe='')}")

    def audit(self, filters: Mapping[str, str], *, cluster: str | None = None) -> Iterator[Json]:
        """Who changed what, newest first: in the team, or of one cluster."""
        yield from self._pages(f"{_cluster(cluster)}/audit" if cluster else "/v1/audit", filters)

    # --- chats ---

    def confirm_chat(self, code: str) -> Json:
        """Be whoever was given that code in a chat. Never repeated: a code is good once."""
        return self._call("POST", "/v1/chat-links", {"code": code})

    def chat_links(self) -> list[Json]:
        """Who is you in chats."""
        return list(self._call("GET", "/v1/chat-links")["items"])

    def remove_chat_link(self, link: str) -> None:
        """They are you no more."""
        self._call("DELETE", f"/v1/chat-links/{quote(link, safe='')}")

    def notifications(self) -> list[Json]:
        """What the team has told to its chat."""
        return list(self._call("GET", "/v1/notifications")["items"])

    def set_notification(self, name: str, wish: Json) -> Json:
        """Have something told, or told otherwise."""
        return self._call("PUT", f"/v1/notifications/{quote(name, safe='')}", wish)

    def remove_notification(self, name: str) -> None:
        """Have it told no more."""
        self._call("DELETE", f"/v1/notifications/{quote(name, safe='')}")

    # --- inventories of machines ---

    def import_machines(self, machines: list[Json]) -> list[Json]:
        """Take machines in, all or none. Tries again under one Idempotency-Key."""
        headers = {"Idempotency-Key": str(uuid4())}
        return list(self._call("POST", "/v1/machines", {"machines": machines}, headers=headers)["items"])

    def machines(self, filters: Mapping[str, str]) -> list[Json]:
        """Every machine that the filters (`cloud`, `machine_type`, `state`) let through."""
        return list(self._pages("/v1/machines", filters))

    def machine(self, name: str) -> Json:
        """One machine."""
        return self._call("GET", _machine(name))

    def change_machine(self, name: str, patch: Json, *, etag: str) -> Json:
        """Merge a patch (RFC 7396) into a machine's entry, unless it changed since `etag`."""
        return self._call("PATCH", _machine(name), patch, headers={"If-Match": etag})

    def remove_machine(self, name: str, *, etag: str) -> None:
        """Strike a machine off, unless it changed since `etag`."""
        self._call("DELETE", _machine(name), headers={"If-Match": etag})

    def release_machine(self, name: str, *, wipe: bool) -> Json:
        """Let a machine out of quarantine."""
        headers = {"Idempotency-Key": str(uuid4())}
        return self._call("POST", f"{_machine(name)}/release", {"wipe": wipe}, headers=headers)

    def operator_key(self, cloud: str) -> str:
        """The public key that the machines of an inventory have to let in."""
        return str(self._call("GET", f"/v1/clouds/{quote(cloud, safe='')}/operator-key")["public"])

    # --- what there is besides ---

    def versions(self) -> list[str]:
        """The Kubernetes versions on offer, newest first."""
        return [str(item) for item in self._call("GET", "/v1/versions")["items"]]

    def clouds(self) -> list[Json]:
        """The clouds on offer."""
        return list(self._call("GET", "/v1/clouds")["items"])

    def check_cloud(self, name: str) -> Json:
        """Whether a cloud is usable; looked at now."""
        return self._call("GET", f"/v1/clouds/{quote(name, safe='')}/check")

    def doctor(self) -> Json:
        """Whether the installation is well; looked at now."""
        return self._call("GET", "/v1/doctor")

    def sweep(self, name: str) -> list[Json]:
        """What the sweep of a cloud saw and does about it."""
        return list(self._call("GET", f"/v1/clouds/{quote(name, safe='')}/sweep")["items"])

    def release_sweep(self) -> Json:
        """Have the sweeps go on after a restore."""
        return self._call("POST", "/v1/sweep/release")

    def dead_letters(self) -> list[Json]:
        """The messages that no service could handle."""
        return list(self._pages("/v1/dead-letters", {}))

    def replay(self, letter: str, body: str | None = None) -> Json:
        """Deliver a dead letter again, with another body if one is given."""
        wish = {} if body is None else {"body": body}
        return self._call("POST", f"/v1/dead-letters/{quote(letter, safe='')}/replay", wish)

    def how_to_log_in(self) -> Json:
        """The issuer whose tokens the API takes; NotFound if it takes none but its own."""
        return self._call("GET", "/v1/login")

    def whoami(self) -> Json:
        """Whom the API takes the caller for."""
        return self._call("GET", "/v1/whoami")

    def stream(self, name: str | None = None, *, silence_s: float = SILENCE_S) -> OpenStream:
        """The events of one cluster, or of all; to be read with `sse.follow`."""
        path = f"{_cluster(name)}/events" if name else "/v1/events"

        @contextmanager
        def opened(last_id: str | None) -> Iterator[httpx.Response]:
            headers = {"Accept": "text/event-stream", **({"Last-Event-ID": last_id} if last_id else {})}
            timeout = httpx.Timeout(TIMEOUT_S, read=silence_s)
            with self._http.stream("GET", path, params=self._team(), headers=headers, timeout=timeout) as response:
                if response.is_error:
                    response.read()
                    raise _error(response)
                yield response

        return opened

    # --- the ways of HTTP ---

    def _team(self) -> dict[str, str]:
        return {"team": self.target.team} if self.target.team else {}

    def _pages(self, path: str, query: Mapping[str, str]) -> Iterator[Json]:
        asked = {"limit": str(PAGE_SIZE), **query}
        while True:
            body = self._call("GET", path, query=asked)
            yield from body["items"]
            if not body.get("next"):
                return
            asked["after"] = body["next"]

    def _call(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> Json:
        response = self._answer(method, path, body, query=query, headers=headers, timeout_s=timeout_s)
        try:
            answer = response.json() if response.content else {}
        except json.JSONDecodeError as error:
            raise CliError(f"{self.target.url} did not answer as Caravan's API does: no JSON at {path}") from error
        if not isinstance(answer, dict):
            raise CliError(f"{self.target.url} did not answer as Caravan's API does: no JSON object at {path}")
        return answer

    def _answer(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> httpx.Response:
        params = {**self._team(), **(query or {})}
        request = self._http.build_request(
            method, path, params=params, json=body, headers=dict(headers or {}), timeout=timeout_s
        )
        repeatable = method in {"GET", "PUT", "DELETE"} or "Idempotency-Key" in request.headers
        response = self._send(request, PAUSES_S if repeatable else ())
        if response.is_error:
            raise _error(response)
        return response

    def _send(self, request: httpx.Request, pauses: tuple[float, ...]) -> httpx.Response:
        for pause in (*pauses, None):
            try:
                response = self._http.send(request)
                if response.status_code not in {502, 503, 504} or pause is None:
                    return response
            except httpx.TransportError as error:
                if pause is None:
                    raise Unavailable(self._nobody_answers(error)) from error
            time.sleep(pause)
        raise AssertionError("the last try returns or raises")

    def _nobody_answers(self, error: httpx.TransportError) -> str:
        return (
            f"Nobody answers at {self.target.url} (from {self.target.source}): {str(error) or type(error).__name__}. "
            "Start a local stack with `caravan up`, or name another API with --url or CARAVAN_URL."
        )


def _cluster(name: str) -> str:
    return f"/v1/clusters/{quote(name, safe='')}"


def _machine(name: str) -> str:
    return f"/v1/machines/{quote(name, safe='')}"


def _team(name: str) -> str:
    return f"/v1/teams/{quote(name, safe='')}"


def _pool(name: str) -> str:
    return f"/v1/pools/{quote(name, safe='')}"


def _lease(lease: str) -> str:
    return f"/v1/leases/{quote(lease, safe='')}"


def _error(response: httpx.Response) -> CliError:
    fallback = Problem(
        title=f"The API answered {response.status_code} {response.reason_phrase}", status=response.status_code
    )
    if "json" not in response.headers.get("content-type", ""):
        return from_problem(fallback)
    try:
        return from_problem(Problem.model_validate({**fallback.model_dump(), **response.json()}))
    except (ValidationError, json.JSONDecodeError, TypeError):
        return from_problem(fallback)
