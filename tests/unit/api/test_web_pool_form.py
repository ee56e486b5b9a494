"""What the form of a pool says: as a spec, as a change of one, and a spec as the form."""

from caravan_api.doors.rest.bodies import merged
from caravan_api.doors.web.screens.pools import wish
from caravan_api.pools.spec import PoolSpec
from caravan_shared.contracts.spec import ClusterSpec

SPEC = PoolSpec.model_validate(
    {
        "template": {
            **ClusterSpec.example,
            "network": {"cni": "flannel", "pod_cidr": "10.9.0.0/16"},
            "workers": [{"name": "gpu", "count": 2, "machine_type": "large", "labels": {"gpu": "yes"}}],
        },
        "spares": 3,
        "schedule": [{"days": ["sat", "sun"], "spares": 0}, {"from_hour": 8, "to_hour": 18, "spares": 9}],
        "lease_s": 5400,
        "shared_with": ["builds", "docs"],
        "max_keep_s": 60,
    }
)


def test_a_form_that_nobody_touched_changes_nothing() -> None:
    was = SPEC.model_dump(mode="json")
    after = PoolSpec.model_validate(merged(was, wish.of(SPEC).patch(was)))
    assert after == SPEC


def test_what_is_typed_changes_and_what_has_no_field_stays() -> None:
    was = SPEC.model_dump(mode="json")
    typed = wish.read([*_fields(wish.of(SPEC)), ("spares", "5"), ("lease_h", "2"), ("workers.0.count", "4")])
    after = PoolSpec.model_validate(merged(was, wish.without_spell(typed, 0).patch(was)))
    assert (after.spares, after.lease_s, after.max_keep_s) == (5, 7200, 60)
    assert [(spell.from_hour, spell.spares) for spell in after.schedule] == [(8, 9)]
    (workers,) = after.template.workers
    assert (workers.count, workers.labels) == (4, {"gpu": "yes"})
    assert str(after.template.network.pod_cidr) == "10.9.0.0/16"


def test_what_is_emptied_is_left_to_the_default() -> None:
    was = SPEC.model_dump(mode="json")
    typed = wish.read([*_fields(wish.of(SPEC)), ("spares", ""), ("shared_with", " "), ("lease_h", "")])
    after = PoolSpec.model_validate(merged(was, typed.patch(was)))
    assert (after.spares, after.shared_with, after.lease_s) == (1, (), 3600)


def test_what_is_no_number_of_hours_is_left_for_admission_to_refuse() -> None:
    assert wish.read([("lease_h", "soon")]).spec()["lease_s"] == "soon"
    assert wish.read([("lease_h", "inf")]).spec()["lease_s"] == "inf"


def test_problems_are_told_at_the_fields_of_the_form() -> None:
    named = {
        "name": "name",
        "spec.spares": "spares",
        "spec.max_lease_s": "max_lease_h",
        "spec.schedule.0.to_hour": "schedule.0.to_hour",
        "spec.template.workers.0.count": "workers.0.count",
    }
    assert {problem: wish.field_of(problem) for problem in named} == named


def _fields(asked: wish.PoolWish) -> list[tuple[str, str]]:
    return [*asked.own.items(), *asked.template.fields.items()]
