"""What a pool may ask for, and how many spares it wants when."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from caravan_api.admission import Limits, NotAdmitted, Surroundings
from caravan_api.pools.spec import PoolSpec, admit_pool
from caravan_shared.contracts.events import CloudOffered
from caravan_shared.contracts.spec import ClusterSpec

AROUND = Surroundings(
    versions=("1.34.2",), clouds={"sandbox": CloudOffered.model_validate(CloudOffered.example)}, limits=Limits(100)
)
SHARED = {"virtual_ip": "10.0.0.9"}


def pool(**spec: Any) -> dict[str, Any]:
    return {"template": ClusterSpec.example, **spec}


def problems(spec: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(NotAdmitted) as refused:
        admit_pool(spec, AROUND)
    return {problem.field: problem.problem for problem in refused.value.problems}


def test_the_example_is_admitted() -> None:
    assert admit_pool(PoolSpec.example, AROUND).spares == 2


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({}, "spec.template"),
        (pool(template={"version": "9.9.9"}), "spec.template.version"),
        (pool(template={**ClusterSpec.example, "cloud": "nowhere"}), "spec.template.cloud"),
        (pool(template={**ClusterSpec.example, "network": SHARED}), "spec.template.network.virtual_ip"),
        (pool(spares=-1), "spec.spares"),
        (pool(spears=1), "spec.spears"),
        (pool(timezone="Mars/Olympus"), "spec.timezone"),
        (pool(lease_s=3600, max_lease_s=1800), "spec"),
        (pool(schedule=[{"from_hour": 9, "to_hour": 9, "spares": 1}]), "spec.schedule.0"),
        (pool(schedule=[{"days": ["someday"], "spares": 1}]), "spec.schedule.0.days.0"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_its_field(spec: dict[str, Any], field: str) -> None:
    assert field in problems(spec)


def test_all_problems_are_told_at_once() -> None:
    told = problems({"template": {"version": "9.9.9"}, "spares": "many", "max_size": 0})
    assert {"spec.template.version", "spec.spares", "spec.max_size"} <= told.keys()


@pytest.mark.parametrize(
    ("moment", "spares"),
    [
        ("2026-01-05T07:30:00", 10),  # a Monday, 8:30 in Berlin
        ("2026-01-05T06:30:00", 1),
        ("2026-01-05T17:00:00", 1),
        ("2026-01-10T08:00:00", 0),  # a Saturday
    ],
)
def test_the_schedule_is_read_in_the_pools_time_zone(moment: str, spares: int) -> None:
    week = [
        {"days": ["mon", "tue", "wed", "thu", "fri"], "from_hour": 8, "to_hour": 18, "spares": 10},
        {"days": ["sat", "sun"], "spares": 0},
    ]
    spec = admit_pool(pool(spares=1, schedule=week, timezone="Europe/Berlin"), AROUND)
    assert spec.spares_at(datetime.fromisoformat(moment).replace(tzinfo=UTC)) == spares


def test_share_that_sleeps_is_refused_where_the_cloud_cannot_stop_machines() -> None:
    offer = CloudOffered.model_validate({**CloudOffered.example, "stops_machines": False})
    around = replace(AROUND, clouds={"sandbox": offer})
    assert admit_pool(pool(), around).hibernate_share == 0
    with pytest.raises(NotAdmitted) as refused:
        admit_pool(pool(hibernate_share=50), around)
    (problem,) = refused.value.problems
    assert (problem.field, problem.problem) == (
        "spec.hibernate_share",
        "the cloud sandbox cannot stop its machines",
    )


SATURDAYS = {"days": ["sat"], "start": "02:00", "duration_s": 7200, "timezone": "Europe/Berlin"}


@pytest.mark.parametrize(
    ("maintenance", "opens_at"),
    [
        ({}, None),
        ({"windows": [SATURDAYS]}, datetime(2026, 1, 3, 1, tzinfo=UTC)),
        ({"windows": [{**SATURDAYS, "days": ["thu"], "start": "12:30"}]}, None),
        ({"windows": [SATURDAYS], "at_once": "1.34.2"}, None),
        ({"windows": [SATURDAYS], "at_once": "1.33.6"}, datetime(2026, 1, 3, 1, tzinfo=UTC)),
    ],
)
def test_a_roll_waits_for_the_templates_maintenance_window(
    maintenance: dict[str, Any], opens_at: datetime | None
) -> None:
    template = {**ClusterSpec.example, "version": "1.34.2", "maintenance": maintenance}
    window = PoolSpec.model_validate(pool(template=template)).roll_waits_for(datetime(2026, 1, 1, 12, tzinfo=UTC))
    assert (window.opens_at if window else None) == opens_at
