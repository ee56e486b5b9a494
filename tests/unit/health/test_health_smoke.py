"""What keeps a cluster from being handed out, from its nodes and its own pods."""

import json

import pytest

from caravan_health.observation import NodeReading, PodReading
from caravan_health.pods import read_pod
from caravan_health.smoke import problems
from caravan_shared.contracts.states import Verdict


def node(name: str, *, ready: bool = True) -> NodeReading:
    return NodeReading(name, Verdict.HEALTHY if ready else Verdict.DEGRADED, "", ready=ready)


def pod(on: str, *, ready: bool = True, dns: bool = False) -> PodReading:
    return PodReading(on, ready=ready, serves_dns=dns)


NODES = [node("cp-1"), node("w-1")]
PODS = [pod("cp-1"), pod("w-1"), pod("w-1", dns=True)]


def test_a_cluster_whose_nodes_run_pods_and_whose_dns_is_up_is_fit() -> None:
    assert problems(NODES, PODS, 2) == []


@pytest.mark.parametrize(
    ("nodes", "pods", "found"),
    [
        (NODES[:1], PODS, "1 nodes are Ready where there should be 2"),
        ([node("cp-1"), node("w-1", ready=False)], PODS, "1 nodes are Ready where there should be 2"),
        ([*NODES, node("w-2")], [*PODS, pod("w-2")], "3 nodes are Ready where there should be 2"),
        (NODES, [pod("cp-1", dns=True), pod("w-1", ready=False)], "no pod is Ready on w-1"),
        (NODES, [pod("cp-1"), pod("w-1"), pod("w-1", ready=False, dns=True)], "no pod of cluster DNS is Ready"),
    ],
)
def test_each_trouble_is_told(nodes: list[NodeReading], pods: list[PodReading], found: str) -> None:
    assert problems(nodes, pods, 2) == [found]


def test_nodes_beyond_a_few_are_counted() -> None:
    many = [node(f"w-{number}") for number in range(9)]
    assert problems(many, [pod("w-0", dns=True)], 9) == ["no pod is Ready on w-1, w-2, w-3 and 5 more"]


@pytest.mark.parametrize(
    ("text", "reading"),
    [
        ('{"metadata": {"name": "a"}}', PodReading("", ready=False, serves_dns=False)),
        (
            '{"metadata": {"labels": {"k8s-app": "kube-dns", "x": "y"}}, "spec": {"nodeName": "w-1"},'
            ' "status": {"conditions": [{"type": "Ready", "status": "True"}]}}',
            PodReading("w-1", ready=True, serves_dns=True),
        ),
        (
            '{"metadata": {"labels": null}, "status": {"conditions": [{"type": "Ready", "status": "False"}]}}',
            PodReading("", ready=False, serves_dns=False),
        ),
    ],
)
def test_a_pod_is_read_as_it_says_of_itself(text: str, reading: PodReading) -> None:
    assert read_pod(json.loads(text)) == reading
