"""What people say of a pool: what its clusters are like, how many it keeps ready, and how long they may be had."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Annotated, Any, ClassVar
from zoneinfo import ZoneInfo

from pydantic import ConfigDict, Field, StringConstraints, ValidationError, model_validator

from caravan_api.admission import NotAdmitted, Surroundings, admit, sleep_problems
from caravan_api.admission.shape import describe
from caravan_api.decide.turns import Quotas
from caravan_shared.contracts.facts import FieldProblem
from caravan_shared.contracts.maintenance import Opening, Timezone, Weekday, opening
from caravan_shared.contracts.spec import DNS_LABEL, ClusterSpec, SpecModel

LONGEST_NAME = 26
"""Of a pool: its clusters are called so and have five more letters and a dash, within a cluster name's 32."""
PoolName = Annotated[str, StringConstraints(pattern=DNS_LABEL, max_length=LONGEST_NAME)]

EVERY_TEAM = "*"
"""In `shared_with`: whoever has a token."""
Sharer = Annotated[str, StringConstraints(pattern=rf"^\*$|{DNS_LABEL}", max_length=32)]

_HOUR, _DAY = 3600, 86_400
LONGEST_LEASE_S = 30 * _DAY


class Spell(SpecModel):
    """A part of the week that has a number of spares of its own."""

    days: tuple[Weekday, ...] = Field(tuple(Weekday), min_length=1, description="On which days; default: on all.")
    from_hour: int = Field(0, ge=0, le=23, description="From this full hour on.")
    to_hour: int = Field(24, ge=1, le=24, description="Up to this full hour.")
    spares: int = Field(ge=0, le=1000, description="Clusters to keep ready meanwhile.")

    @model_validator(mode="after")
    def begins_before_it_ends(self) -> "Spell":
        """Nights are two spells, one on either side of midnight."""
        if self.from_hour >= self.to_hour:
            raise ValueError("from_hour must be before to_hour; write a night as two spells")
        return self

    def covers(self, moment: datetime) -> bool:
        """True for a moment, in the pool's time zone, that lies within."""
        return list(Weekday)[moment.weekday()] in self.days and self.from_hour <= moment.hour < self.to_hour


class PoolSpec(SpecModel):
    """A pool, as asked for. Times are in seconds."""

    example: ClassVar[dict[str, Any]] = {"template": ClusterSpec.example, "spares": 2, "lease_s": _HOUR}
    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra={"examples": [example]})

    template: ClusterSpec = Field(
        description="What its clusters are like; a change replaces spares, in its maintenance windows if it has any."
    )
    spares: int = Field(1, ge=0, le=1000, description="Clusters to keep ready.")
    schedule: tuple[Spell, ...] = Field(
        (), max_length=50, description="When to keep another number of spares; the first spell that covers now counts."
    )
    timezone: Timezone = Field("UTC", description="Where the schedule's hours are read, such as Europe/Berlin.")
    hibernate_share: int = Field(
        0,
        ge=0,
        le=100,
        description="Per cent of the spares that sleep, their machines stopped; woken when none is awake.",
    )
    max_size: int = Field(
        10, ge=1, le=1000, description="Clusters at once, spare and leased; not those on their way out."
    )
    max_making: int = Field(3, ge=1, le=100, description="Clusters in the making at once.")
    max_making_s: int = Field(_HOUR, ge=60, le=_DAY, description="After this long in the making, a cluster is broken.")
    max_spare_age_s: int = Field(_DAY, ge=60, le=90 * _DAY, description="A spare older than this is replaced.")
    smoke_max_age_s: int = Field(
        600, ge=10, le=_DAY, description="A spare is handed out only if its last smoke test is no older than this."
    )
    lease_s: int = Field(_HOUR, ge=60, le=LONGEST_LEASE_S, description="How long a lease lasts that says nothing else.")
    max_lease_s: int = Field(
        8 * _HOUR, ge=60, le=LONGEST_LEASE_S, description="How long a lease may last, extended or not."
    )
    max_keep_s: int = Field(
        4 * _HOUR,
        ge=0,
        le=LONGEST_LEASE_S,
        description="How long a cluster may be kept for debugging after it was given back.",
    )
    max_leases_per_holder: int | None = Field(
        None,
        ge=1,
        le=1000,
        description="Leases that one person may hold at once; others wait meanwhile. Unset: no limit.",
    )
    max_leases_per_team: int | None = Field(
        None,
        ge=1,
        le=1000,
        description="Clusters that one team may hold and keep at once; its others wait meanwhile. Unset: no limit.",
    )
    shared_with: tuple[Sharer, ...] = Field(
        (),
        max_length=200,
        description='Teams that may take from it beside the one that owns it; `["*"]`: all. They cannot change it.',
    )

    @model_validator(mode="after")
    def leases_fit_their_cap(self) -> "PoolSpec":
        """The default is a lease like any other."""
        if self.lease_s > self.max_lease_s:
            raise ValueError("lease_s must not be more than max_lease_s")
        return self

    @property
    def quotas(self) -> Quotas:
        """How many one may have at once."""
        return Quotas(self.max_leases_per_team, self.max_leases_per_holder)

    def spares_at(self, moment: datetime) -> int:
        """How many spares are wanted at a moment."""
        local = moment.astimezone(ZoneInfo(self.timezone))
        return next((spell.spares for spell in self.schedule if spell.covers(local)), self.spares)

    def roll_waits_for(self, moment: datetime) -> Opening | None:
        """The maintenance window in which spares of an earlier template are replaced; None: at this moment."""
        maintenance = self.template.maintenance
        if maintenance.at_once == self.template.version:
            return None
        found = opening(maintenance.windows, moment)
        return found if found and found.opens_at > moment else None


def admit_pool(raw: Mapping[str, Any], around: Surroundings) -> PoolSpec:
    """Return the spec of a pool, or raise `NotAdmitted` with every problem it has. `around` is of a new cluster."""
    problems = list(_template_problems(raw, around))
    try:
        spec = PoolSpec.model_validate(raw)
    except ValidationError as error:
        found = describe(error.errors(include_url=False), root="spec")
        told = {problem.field for problem in problems}
        problems += [each for each in found if each.field not in told]
        raise NotAdmitted(tuple(problems)) from error
    if spec.hibernate_share:
        problems += sleep_problems(spec.template, around.clouds, "spec.hibernate_share")
    if problems:
        raise NotAdmitted(tuple(problems))
    return spec


def _template_problems(raw: Mapping[str, Any], around: Surroundings) -> Iterator[FieldProblem]:
    """The template is judged as a cluster's spec would be, and asks for nothing that only one cluster can have."""
    try:
        template = admit({"name": "pool", "spec": raw.get("template")}, around)
    except NotAdmitted as refused:
        for problem in refused.problems:
            yield problem.model_copy(update={"field": problem.field.replace("spec", "spec.template", 1)})
        return
    if template.network.virtual_ip:
        yield FieldProblem(
            field="spec.template.network.virtual_ip",
            problem="one address cannot be that of many clusters",
            remedy="leave it out; the endpoint's name follows each cluster's control planes",
        )
