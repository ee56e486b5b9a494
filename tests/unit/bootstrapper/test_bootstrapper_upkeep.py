"""New certificates in time, and backups."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from caravan_bootstrapper import upkeep
from caravan_bootstrapper.steps import LookAtMembers, Rest, StartRun, Step
from caravan_bootstrapper.views import ClusterView, NodeView, Play
from caravan_shared.contracts.spec import Topology
from caravan_shared.contracts.states import MembershipState as M
from caravan_shared.contracts.states import Verdict
from tests.unit.bootstrapper.clusters import (
    NOW,
    POLICY,
    control_plane,
    etcd,
    joined,
    next_step,
    node,
    over_ssh,
    spec,
    up,
)

LONG_AGO = NOW - timedelta(days=271)
DAILY = replace(POLICY, backup_every_s=86_400.0)


def member(one: NodeView, renewed_at: datetime | None = LONG_AGO) -> NodeView:
    return over_ssh(joined(one), renewed_at=renewed_at, ready_at=LONG_AGO)


def settled(*nodes: NodeView, **more: object) -> ClusterView:
    """A cluster that has all it was asked for."""
    return up(*nodes, spec=spec(3, 0), done_generation=1, set_up_at=LONG_AGO, **more)


def renewed(step: Step) -> list[str]:
    assert isinstance(step, StartRun), step
    assert step.play is Play.RENEW
    return [one.name for one in step.nodes]


def test_oldest_certificates_are_renewed_first_one_node_at_a_time() -> None:
    older = member(control_plane(2), LONG_AGO - timedelta(days=1))
    step = next_step(settled(member(control_plane(1)), older, member(control_plane(3), NOW)))
    assert renewed(step) == ["cp-2"]
    assert isinstance(step, StartRun)
    assert step.manager
    assert step.manager.name != "cp-2"


def test_certificates_of_unknown_age_are_as_old_as_the_machine() -> None:
    assert renewed(next_step(settled(member(control_plane(1), None)))) == ["cp-1"]


@pytest.mark.parametrize("after_days", [0.001, 1, 269.5, 270, 364])
def test_run_renews_whatever_made_it_due(after_days: float) -> None:
    days_left = upkeep.CERTIFICATE_DAYS - after_days
    assert days_left <= upkeep.renew_below_days(after_days) < days_left + 1


def test_young_certificates_and_those_of_simulated_machines_and_workers_are_left_alone() -> None:
    young = member(control_plane(1), NOW - timedelta(days=269))
    simulated = joined(control_plane(2), ready_at=LONG_AGO)
    worker = member(node("w-3"))
    assert next_step(settled(young, simulated, worker)) == Rest()


def test_etcd_nodes_are_renewed_too() -> None:
    seen = settled(member(control_plane(1), NOW), member(etcd(2)))
    assert renewed(next_step(replace(seen, spec=spec(1, 0, topology=Topology.EXTERNAL)))) == ["e-2"]


def test_failed_renewal_passes_to_the_next_node_and_comes_back() -> None:
    failing = replace(member(control_plane(1)), failures=1, failed_at=NOW, failure="no")
    seen = settled(failing, member(control_plane(2)))
    assert renewed(next_step(seen)) == ["cp-2"]
    alone = settled(failing)
    assert not isinstance(next_step(alone), StartRun)
    assert renewed(next_step(alone, NOW + timedelta(seconds=2))) == ["cp-1"]


def test_given_up_cluster_keeps_valid_certificates_and_a_paused_one_is_not_touched() -> None:
    seen = settled(member(control_plane(1)))
    assert renewed(next_step(replace(seen, given_up=True))) == ["cp-1"]
    assert next_step(replace(seen, spec=spec(3, 0, paused=True))) == Rest()


@pytest.mark.parametrize("dead", [Verdict.UNREACHABLE])
def test_dead_node_is_not_renewed(dead: Verdict) -> None:
    assert next_step(settled(replace(member(control_plane(1)), verdict=dead))) == Rest()


def test_backups_are_off_by_default_and_then_due_by_the_last_one() -> None:
    seen = settled(member(control_plane(1), NOW), member(control_plane(2), NOW))
    assert next_step(seen) == Rest()
    step = next_step(seen, policy=DAILY)
    assert isinstance(step, StartRun)
    assert (step.play, step.nodes, step.manager) == (Play.BACKUP, seen.nodes[:1], seen.nodes[0])
    assert next_step(replace(seen, backed_up_at=NOW - timedelta(hours=23)), policy=DAILY) == Rest()


def test_backup_is_taken_by_another_control_plane_after_a_failure() -> None:
    first = replace(member(control_plane(1), NOW), failures=1, failed_at=NOW, failure="disk full", blamed_at=NOW)
    step = next_step(settled(first, member(control_plane(2), NOW)), policy=DAILY)
    assert isinstance(step, StartRun)
    assert step.nodes[0].name == "cp-2"


def test_paused_cluster_starts_nothing_tells_no_token_and_still_hears_who_joined() -> None:
    paused = spec(1, 2, paused=True)
    waiting = (joined(control_plane()), node("w-2"), node("w-3", state=M.JOINING, joins_by_itself=True))
    seen = up(*waiting, spec=paused, tokens_to_ensure=1, failures=9)
    assert isinstance(next_step(seen), LookAtMembers)
    resumed = next_step(replace(seen, spec=spec(), tokens_to_ensure=0, failures=0))
    assert isinstance(resumed, StartRun)
    assert resumed.play is Play.ADD_NODES
