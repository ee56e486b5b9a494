"""What waits for a cluster's maintenance window, what does not, and what is said; and that a sleeper is let be."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from caravan_bootstrapper.steps import LookAtMembers, Rest, SayHeld, StartRun
from caravan_bootstrapper.views import ClusterView, Play
from caravan_shared.contracts.spec import Role
from tests.unit.bootstrapper.clusters import NOW, control_plane, joined, next_step, node, over_ssh, running, spec, up

# NOW is Thursday, the 1st of January 2026, 00:00 UTC.
OPEN = {"windows": [{"days": ["wed"], "start": "23:00", "duration_s": 7200}]}
SATURDAY = {"windows": [{"days": ["sat"], "start": "02:00", "duration_s": 14_400}]}
HELD = "the upgrade to 1.34.2 waits for the maintenance window: next Sat 3 Jan 02:00–06:00 (UTC)"


def behind(maintenance: dict[str, Any], **more: object) -> ClusterView:
    """A cluster of 1.33.6 of which 1.34.2 is wanted."""
    old = [joined(each, version="1.33.6") for each in (control_plane(), node("w-1"), node("w-2"))]
    return up(*old, spec=spec(maintenance=maintenance), generation=2, complete_generation=2, **more)


def test_upgrade_waits_for_the_window_and_says_so_once() -> None:
    assert next_step(behind(SATURDAY)) == SayHeld(HELD)
    step = next_step(behind(SATURDAY, told_held=HELD))
    assert step == LookAtMembers(10.0), "slowly, as nothing is at work"


@pytest.mark.parametrize("maintenance", [{}, OPEN, {**SATURDAY, "at_once": "1.34.2"}])
def test_upgrade_begins_without_windows_within_one_or_when_asked_for_at_once(maintenance: dict[str, Any]) -> None:
    step = next_step(behind(maintenance))
    assert isinstance(step, StartRun)
    assert step.play is Play.UPGRADE


def test_that_nothing_waits_any_more_is_said_before_the_upgrade_begins() -> None:
    assert next_step(behind(OPEN, told_held=HELD)) == SayHeld("")


def test_control_planes_of_two_versions_are_brought_to_one_though_the_window_closed() -> None:
    planes = [joined(control_plane(1)), joined(control_plane(2), version="1.33.6"), joined(control_plane(3))]
    step = next_step(up(*planes, spec=spec(3, 0, maintenance=SATURDAY), generation=2, complete_generation=2))
    assert isinstance(step, StartRun)
    assert [each.name for each in step.nodes] == ["cp-2"]


def test_workers_that_are_left_when_the_window_closes_wait_for_the_next() -> None:
    workers = [joined(node("w-1")), joined(node("w-2"), version="1.33.6")]
    seen = running(*workers, spec=spec(maintenance=SATURDAY), generation=2, complete_generation=2)
    assert next_step(seen) == SayHeld(HELD)


def test_new_nodes_join_while_an_upgrade_waits() -> None:
    seen = behind(SATURDAY, told_held=HELD)
    step = next_step(replace(seen, nodes=(*seen.nodes, node("w-3"))))
    assert isinstance(step, StartRun)
    assert (step.play, step.version) == (Play.ADD_NODES, "1.33.6")


@pytest.mark.parametrize(("age_days", "waits"), [(271, True), (336, False)])
def test_renewal_waits_for_the_window_unless_certificates_are_about_to_end(age_days: int, waits: bool) -> None:
    made_at = NOW - timedelta(days=age_days)
    plane = over_ssh(joined(control_plane()), renewed_at=made_at, ready_at=made_at)
    step = next_step(up(plane, spec=spec(1, 0, maintenance=SATURDAY), done_generation=1, set_up_at=made_at))
    if waits:
        assert isinstance(step, SayHeld)
        assert step.reason.startswith("the renewal of certificates waits")
    else:
        assert isinstance(step, StartRun)
        assert step.play is Play.RENEW


def test_node_that_leaves_is_removed_whatever_the_window() -> None:
    seen = running(joined(node("w-1")), joined(node("w-2"), leaving=True), spec=spec(maintenance=SATURDAY))
    step = next_step(seen)
    assert isinstance(step, StartRun)
    assert step.play is Play.REMOVE_NODES


def test_nothing_is_begun_on_a_cluster_that_sleeps() -> None:
    assert next_step(behind({}, asleep=True)) == Rest()
    assert next_step(running(node("w-1", Role.WORKER), asleep=True)) == Rest()
