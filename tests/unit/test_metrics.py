"""Metrics keep their number of series small, and their names as Prometheus wants them."""

import re

from metrics_of_the_code import described

METRICS = [metric for metrics in described().values() for metric in metrics]

BOUNDED = {
    "bucket": "an enum's members",
    "cloud": "those that are configured",
    "integration": "chats that are configured",
    "kind": "kinds of keys, kinds of looks",
    "method": "HTTP's own, others are one",
    "path": "a cloud's, without ids and names",
    "phase": "an enum's members",
    "play": "our playbooks",
    "result": "words of the code",
    "route": "templates, never paths",
    "service": "five",
    "state": "an enum's members",
    "status": "HTTP's",
    "subject": "events' and requests', without the team",
    "verdict": "an enum's members",
    "version": "the one that runs",
}
"""Labels that may be, and what bounds their values. None is an id, a user, a team, a cluster, a pool."""


def test_no_label_grows_with_what_people_make() -> None:
    assert {label for metric in METRICS for label in metric.labels} == set(BOUNDED)


def test_names_say_unit_and_kind() -> None:
    for metric in METRICS:
        assert re.fullmatch(r"caravan_[a-z_]+", metric.name)
        assert metric.name.endswith("_total") == (metric.kind == "counter"), metric.name
        assert metric.kind != "histogram" or metric.name.endswith("_seconds"), metric.name


def test_every_metric_is_explained() -> None:
    assert all(metric.says.endswith(".") for metric in METRICS)
