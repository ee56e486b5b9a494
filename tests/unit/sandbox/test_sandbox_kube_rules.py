"""RBAC, selectors, patches, paths and tables: the pure half of the simulated kube-apiserver."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caravan_sandbox.kube.authorization import DEFAULT_CLUSTER_ROLES, Asked, User, read_rules
from caravan_sandbox.kube.checks import report
from caravan_sandbox.kube.patching import merge_patch
from caravan_sandbox.kube.requests import Form, parse_accept, parse_path
from caravan_sandbox.kube.resources import CLUSTER_ROLE_BINDINGS, NAMESPACES, NODES, PODS
from caravan_sandbox.kube.selectors import field_selector, label_selector
from caravan_sandbox.kube.statuses import BadRequest
from caravan_sandbox.kube.times import age, timestamp

ROLES = [{"metadata": {"name": name}, "rules": rules} for name, rules in DEFAULT_CLUSTER_ROLES.items()]
VERBS = ["get", "list", "watch", "create", "update", "patch", "delete"]
RESOURCES = ["nodes", "pods", "secrets", "namespaces", "configmaps"]


def bound(role: str, group: str, namespace: str = "") -> dict[str, Any]:
    return {
        "metadata": {"name": "b", **({"namespace": namespace} if namespace else {})},
        "roleRef": {"kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "Group", "name": group}],
    }


@given(
    verb=st.sampled_from(VERBS), resource=st.sampled_from(RESOURCES), role=st.sampled_from(["view", "edit", "admin"])
)
@settings(max_examples=100)
def test_higher_roles_may_all_that_lower_ones_may(verb: str, resource: str, role: str) -> None:
    asked = Asked(verb, resource=resource, namespace="default")
    ladder = ["view", "edit", "admin", "cluster-admin"]
    allowed = [
        read_rules(ROLES, [bound(step, "g")]).allow(User("u", ("g",)), asked) for step in ladder[ladder.index(role) :]
    ]
    assert allowed == sorted(allowed)
    assert allowed[-1]


@given(
    verb=st.sampled_from(VERBS),
    resource=st.sampled_from(RESOURCES),
    group=st.sampled_from(["h", "system:authenticated"]),
)
@settings(max_examples=50)
def test_nothing_is_allowed_without_a_binding(verb: str, resource: str, group: str) -> None:
    rules = read_rules(ROLES, [bound("cluster-admin", "g")])
    assert not rules.allow(User("g", (group,)), Asked(verb, resource=resource))


def test_viewers_write_nothing_and_see_no_secrets() -> None:
    rules, viewer = read_rules(ROLES, [bound("view", "g")]), User("u", ("g",))
    assert rules.allow(viewer, Asked("list", resource="pods"))
    assert not rules.allow(viewer, Asked("list", resource="secrets"))
    assert not any(rules.allow(viewer, Asked(verb, resource="pods")) for verb in VERBS[3:])


def test_role_binding_reaches_its_namespace_only() -> None:
    rules = read_rules(ROLES, [], [], [bound("view", "g", namespace="here")])
    user = User("u", ("g",))
    assert rules.allow(user, Asked("list", resource="pods", namespace="here"))
    assert not rules.allow(user, Asked("list", resource="pods", namespace="there"))
    assert not rules.allow(user, Asked("list", resource="pods"))


def test_resource_names_narrow_a_rule() -> None:
    role = {
        "metadata": {"name": "r"},
        "rules": [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"], "resourceNames": ["a"]}],
    }
    rules = read_rules([role], [bound("r", "g")])
    assert rules.allow(User("u", ("g",)), Asked("get", resource="nodes", name="a"))
    assert not rules.allow(User("u", ("g",)), Asked("get", resource="nodes", name="b"))


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        ("", True),
        ("a=1", True),
        ("a==1,b!=3", True),
        ("a!=1", False),
        ("a in (1, 2),b notin (3)", True),
        ("a notin (1,2)", False),
        ("a", True),
        ("!a", False),
        ("!c", True),
    ],
)
def test_label_selectors(selector: str, matches: bool) -> None:
    predicate = label_selector(selector)
    assert (predicate is None or predicate({"metadata": {"labels": {"a": "1", "b": "2"}}})) is matches


def test_field_selectors() -> None:
    node = {"metadata": {"name": "n"}, "spec": {"unschedulable": True}}
    for selector, matches in {
        "metadata.name=n": True,
        "metadata.name!=n": False,
        "spec.unschedulable=true": True,
    }.items():
        predicate = field_selector(selector)
        assert predicate is not None
        assert predicate(node) is matches
    with pytest.raises(BadRequest):
        field_selector("spec.colour=red")


# The example of RFC 7386, appendix A, in part.
@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": "foo"}, None, None),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch(target: Any, patch: Any, result: Any) -> None:
    assert merge_patch(target, patch) == result


def test_paths() -> None:
    pod = parse_path("/api/v1/namespaces/default/pods/p/status")
    assert pod is not None
    assert (pod.resource, pod.namespace, pod.name, pod.subresource) == (PODS, "default", "p", "status")
    namespace = parse_path("/api/v1/namespaces/default")
    assert namespace is not None
    assert (namespace.resource, namespace.name) == (NAMESPACES, "default")
    binding = parse_path("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings")
    assert binding is not None
    assert (binding.resource, binding.name) == (CLUSTER_ROLE_BINDINGS, "")
    assert binding.asked("DELETE", watch=False).verb == "deletecollection"
    assert parse_path("/api/v1/nodes/n").asked("GET", watch=False).verb == "get"  # type: ignore[union-attr]


@given(st.lists(st.sampled_from(["api", "apis", "v1", "nodes", "namespaces", "x", "apps", "status"]), max_size=8))
@settings(max_examples=200)
def test_any_path_is_a_target_or_none(parts: list[str]) -> None:
    target = parse_path("/" + "/".join(parts))
    assert target is None or target.resource.plural in parts


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("*/*", Form.WHOLE),
        ("application/json", Form.WHOLE),
        ("application/vnd.kubernetes.protobuf,application/json", Form.WHOLE),
        ("application/json;as=Table;v=v1;g=meta.k8s.io,application/json", Form.TABLE),
        ("application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json", Form.WHOLE),
        ("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1", Form.METADATA),
    ],
)
def test_accept_headers(accept: str, form: Form) -> None:
    assert parse_accept(accept) is form


def test_failing_check_is_named_unless_excluded() -> None:
    assert report("readyz", set(), set(), verbose=False) == (200, "ok")
    status, text = report("readyz", {"etcd"}, set(), verbose=False)
    assert (status, "[-]etcd failed: reason withheld" in text, "readyz check failed" in text) == (500, True, True)
    assert report("readyz", {"etcd"}, {"etcd"}, verbose=False) == (200, "ok")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(5, "5s"), (119, "119s"), (130, "2m10s"), (3600, "60m"), (4 * 3600, "4h"), (12 * 86400, "12d")],
)
def test_ages_read_as_kubectl_writes_them(seconds: int, text: str) -> None:
    assert age(timestamp(1000), 1000 + seconds) == text


def test_nodes_are_cluster_scoped() -> None:
    assert not NODES.namespaced
