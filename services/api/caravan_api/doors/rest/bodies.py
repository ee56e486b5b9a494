"""Request bodies. Where admission must see the whole request, the shape is documented here and judged there."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, SecretStr, StringConstraints, TypeAdapter
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from caravan_api.access import Role, Scope
from caravan_api.decide.notifications import Occasion
from caravan_api.errors import Malformed
from caravan_api.markup import Product
from caravan_api.pools.spec import LONGEST_LEASE_S, PoolName, PoolSpec
from caravan_shared.contracts.facts import FieldProblem
from caravan_shared.contracts.spec import ClusterName, ClusterSpec, TeamName
from caravan_shared.contracts.users import UserName

# Specs are four levels deep; deeper patches are mistakes or attacks on the stack.
_DEEPEST_PATCH = 12
LONGEST_ACCESS_S = 8 * 3600
_TEN_YEARS_S = 10 * 365 * 86_400
_LINE = r"^[^\x00-\x1f\x7f]{1,200}$"


@dataclass(frozen=True, slots=True)
class LooksLike:
    """Any value passes, and OpenAPI shows the schema of `shape`: admission says more than a schema error can."""

    shape: Any

    def __get_pydantic_json_schema__(self, _schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The documented schema."""
        adapter: TypeAdapter[Any] = TypeAdapter(self.shape)
        return handler(adapter.core_schema)


class Body(BaseModel):
    """Unknown fields are mistakes, and are told."""

    model_config = ConfigDict(extra="forbid")


LifetimeS = Annotated[int, Field(ge=60, le=_TEN_YEARS_S)]


class CreateCluster(Body):
    """A new cluster."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"name": "demo", "spec": ClusterSpec.example}]}
    )
    name: Annotated[Any, LooksLike(ClusterName)]
    spec: Annotated[Any, LooksLike(ClusterSpec)]
    lifetime_s: LifetimeS | None = Field(None, description="Seconds after which it is deleted. Default: never.")


class LimitLifetime(Body):
    """How long a cluster lives from now on."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"lifetime_s": 14_400}]})
    lifetime_s: LifetimeS | None = Field(description="Seconds from now until it is deleted; null: never.")


class ChangeCluster(Body):
    """A merge patch (RFC 7396): what is named changes, null means the default, lists are replaced whole."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"spec": {"version": "1.34.2"}}]})
    spec: dict[str, Any]


class ScaleNodeSet(Body):
    """A new size for one node set."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"count": 4}]})
    count: int = Field(ge=0, le=5000)


class ReplaceNode(Body):
    """A node to be replaced."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"reason": "its disk is slow"}]})
    reason: Annotated[str, StringConstraints(pattern=_LINE)] | None = Field(
        None, description="Why, for the timeline: one line of at most 200 characters."
    )


class AskPlan(Body):
    """A request to be weighed, not done. `name` is for create, `cluster` (name or id) for change and delete."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"action": "create", "name": "demo", "spec": ClusterSpec.example}]},
    )
    action: Literal["create", "change", "delete"]
    name: Annotated[Any, LooksLike(ClusterName | None)] = None
    cluster: str | None = None
    spec: dict[str, Any] | None = Field(None, description="A whole spec to create, a merge patch to change.")


class AskAccess(Body):
    """Access to a cluster for yourself."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"role": "viewer", "ttl_s": 3600}]})
    role: Literal["viewer", "editor", "admin"] = "viewer"
    ttl_s: int = Field(3600, ge=60, le=LONGEST_ACCESS_S, description="Lifetime in seconds, at most 8 h.")


class Replay(Body):
    """How a dead letter is delivered again."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{}]})
    body: str | None = Field(None, description="What the message shall say instead. Default: what it said.")


class CreatePool(Body):
    """A new pool."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"name": "ci", "spec": PoolSpec.example}]}
    )
    name: Annotated[Any, LooksLike(PoolName)]
    spec: Annotated[Any, LooksLike(PoolSpec)]


class ChangePool(Body):
    """A merge patch (RFC 7396): what is named changes, null means the default, lists are replaced whole."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"spec": {"spares": 4}}]})
    spec: dict[str, Any]


Quota = Annotated[int | None, Field(ge=0, le=2**31 - 1)]  # what an integer of the store holds
LeaseLabel = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,62}$")]
LeaseLabelValue = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]{0,500}$")]


class TakeLease(Body):
    """A cluster of the pool for yourself."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"lasts_s": 3600, "purpose": "e2e of main", "kubeconfig": "admin"}]},
    )
    lasts_s: int | None = Field(
        None, ge=60, le=LONGEST_LEASE_S, description="From the moment that you get it. Default: the pool's."
    )
    purpose: Annotated[str, StringConstraints(pattern=_LINE)] | None = Field(
        None, description="What for: one line of at most 200 characters."
    )
    labels: dict[LeaseLabel, LeaseLabelValue] = Field(
        default_factory=dict, max_length=32, description="Whatever helps to find it again: commit, job URL."
    )
    heartbeat_s: int | None = Field(
        None, ge=10, le=24 * 3600, description="End it when no heartbeat came for so long. Default: none is expected."
    )
    wait: bool = Field(True, description="Join the queue where no spare is ready; else that is an error.")
    kubeconfig: Literal["viewer", "editor", "admin"] | None = Field(
        None, description="Answer with a kubeconfig of this role where a spare is ready."
    )


class ExtendLease(Body):
    """More time."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"for_s": 1800}]})
    for_s: int | None = Field(
        None,
        ge=1,
        le=LONGEST_LEASE_S,
        description="By how long. Default: by as long as it was taken for, or up to the pool's cap.",
    )


class NewTeam(Body):
    """A team, and how much it may have; what is left out has no limit of the team's own."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"name": "payments", "max_nodes": 200}]})
    name: TeamName
    max_clusters: Quota = Field(None, description="Clusters, those kept ready in pools included.")
    max_nodes: Quota = Field(None, description="Nodes of all clusters. Default: the installation's limit, if any.")
    max_leases: Quota = Field(None, description="Leases, held or waited for.")


class ChangeTeam(Body):
    """A merge patch (RFC 7396) of a team's quota: null lifts a limit."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"max_nodes": 400}]})
    max_clusters: Quota = None
    max_nodes: Quota = None
    max_leases: Quota = None


class PlaceMember(Body):
    """What a member may do in the team."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"role": "developer"}]})
    role: Role = Role.DEVELOPER


class NewToken(Body):
    """A bearer token for someone of the team."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"user": "alice", "role": "viewer", "lasts_s": 86_400, "scopes": ["clusters"]}]
        },
    )
    user: UserName | None = Field(None, description="Whose; shown in timelines. Default: your own.")
    role: Role = Field(Role.DEVELOPER, description="What it may do at most; never more than its user.")
    scopes: list[Scope] = Field([], description="Areas of this API that it is limited to. Default: to none.")
    lasts_s: int | None = Field(
        None, ge=60, le=_TEN_YEARS_S, description="Seconds after which it is void. Default: it is until revoked."
    )


class ConfirmLink(Body):
    """A code that `/caravan link` showed you in a chat."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"code": "K7WQ2MZX9PAB"}]})
    code: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]{1,32}$")]


class SetNotification(Body):
    """What is told, and where."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "product": "slack",
                    "url": "https://hooks.slack.com/services/T000/B000/XXXX",
                    "occasions": ["lease-ending", "cluster-failed"],
                    "pool": "ci",
                }
            ]
        },
    )
    product: Product
    url: Annotated[SecretStr, Field(max_length=2000)] = Field(
        description="Of an incoming webhook. It is kept sealed, and shown to nobody."
    )
    occasions: list[Occasion] = Field(min_length=1, max_length=len(Occasion))
    channel: Annotated[str, StringConstraints(pattern=r"^[@A-Za-z0-9][A-Za-z0-9._-]{0,63}$")] | None = Field(
        None, description="Of Mattermost, another than the webhook's own."
    )
    pool: PoolName | None = Field(None, description="Only what concerns this pool's clusters.")
    cluster: ClusterName | None = Field(None, description="Only what concerns this cluster.")


class TokenView(BaseModel):
    """A token, without its text."""

    id: UUID
    user: str
    team: TeamName
    role: Role
    scopes: list[Scope]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None = Field(description="To the minute; null: never.")


class IssuedToken(TokenView):
    """A new token, with its text: it is shown this once."""

    token: str


def merged(target: Any, patch: Any, depth: int = 0) -> Any:
    """Apply a merge patch (RFC 7396, section 2). Raises `Malformed` for one that is absurdly deep."""
    if depth > _DEEPEST_PATCH:
        raise Malformed([FieldProblem(field="spec", problem="it is nested too deeply", remedy="see /openapi.json")])
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value, depth + 1)
    return result
