"""What holds a drain up, and what is said of it; when a member of etcd may go."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

UTILS = Path(__file__).parents[3] / "playbooks/plugins/module_utils"


def load(name: str) -> ModuleType:
    """A module that Ansible carries to a machine; it is in no package here."""
    spec = importlib.util.spec_from_file_location(name, UTILS / f"{name}.py")
    assert spec
    assert spec.loader
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


evictions, quorum = load("caravan_evictions"), load("caravan_quorum")


def pod(name: str, *, app: str = "web", owner: str = "ReplicaSet", phase: str = "Running", **metadata: Any) -> Any:
    owners = [{"kind": owner, "controller": True}]
    fields = {"name": name, "namespace": "shop", "labels": {"app": app}, "ownerReferences": owners, **metadata}
    return {"metadata": fields, "status": {"phase": phase}}


def budget(*, allowed: int, selector: Any, namespace: str = "shop") -> Any:
    status = {"disruptionsAllowed": allowed, "currentHealthy": 2, "desiredHealthy": 2}
    return {"metadata": {"name": "keep", "namespace": namespace}, "spec": {"selector": selector}, "status": status}


WEB = {"matchLabels": {"app": "web"}}


def test_static_finished_and_daemon_pods_are_not_in_the_way() -> None:
    static = pod("etcd", annotations={"kubernetes.io/config.mirror": "x"})
    pods = [pod("web"), static, pod("proxy", owner="DaemonSet"), pod("done", phase="Succeeded")]
    assert [each["metadata"]["name"] for each in evictions.in_the_way(pods)] == ["web"]


@pytest.mark.parametrize(
    ("selector", "selected"),
    [
        (WEB, True),
        ({}, True),
        (None, False),
        ({"matchLabels": {"app": "db"}}, False),
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["web", "db"]}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]}, False),
        ({"matchExpressions": [{"key": "tier", "operator": "Exists"}]}, False),
        ({"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}, True),
    ],
)
def test_budget_holds_what_its_selector_selects(selector: Any, selected: bool) -> None:
    assert bool(evictions.held_by(pod("web"), [budget(allowed=0, selector=selector)])) is selected


def test_budget_with_room_or_of_another_namespace_holds_nothing() -> None:
    budgets = [budget(allowed=1, selector=WEB), budget(allowed=0, selector=WEB, namespace="other")]
    assert evictions.held_by(pod("web"), budgets) == []


def test_sentence_names_pods_budget_and_the_way_out() -> None:
    pods = [pod("web-1"), pod("web-2"), pod("slow", app="db", deletionTimestamp="2026-01-01T00:00:00Z")]
    said = evictions.sentence("w-1", 30, pods, [budget(allowed=0, selector=WEB)], forced=False)
    assert said == (
        "w-1 was not drained within 30 s. PodDisruptionBudget shop/keep (needs 2 healthy pods, has 2) keeps "
        "shop/web-1, shop/web-2. Still ending: shop/slow. Add replicas, relax the budget, or set drain.force: true in "
        "the cluster's spec, which deletes these pods all the same."
    )


def member(name: str, *, healthy: bool = True, votes: bool = True) -> Any:
    url = f"https://10.0.0.{ord(name)}:2380"
    return quorum.Member(ord(name), name, (url,), (), votes, healthy)


def test_member_is_found_by_address_before_it_has_a_name() -> None:
    unstarted = quorum.Member(1, "", ("https://10.0.0.7:2380",), (), True, False)
    assert quorum.find([member("a"), unstarted], "cp-7", "10.0.0.7") is unstarted
    assert quorum.find([member("a")], "cp-7", "10.0.0.7") is None


@pytest.mark.parametrize(
    ("up", "down", "leaving", "why"),
    [
        ("abc", "", "a", None),
        ("ab", "c", "c", None),
        ("ab", "", "a", None),
        ("ab", "c", "a", "without a etcd would have no quorum: 1 of 2 members healthy (c not)"),
        ("a", "bc", "c", "etcd has no quorum: 1 of 3 members healthy (b, c not)"),
        ("a", "", "a", "a is the only etcd member"),
    ],
)
def test_member_leaves_only_where_a_quorum_stays(up: str, down: str, leaving: str, why: str | None) -> None:
    members = [*(member(name) for name in up), *(member(name, healthy=False) for name in down)]
    said = quorum.objection(members, quorum.find(members, leaving, ""))
    assert said is None if why is None else str(said).startswith(why)


def test_learner_may_always_leave() -> None:
    learner = member("b", healthy=False, votes=False)
    assert quorum.objection([member("a"), learner], learner) is None
