"""When a cluster lets machines in, and how those that wait for it keep apart."""

import json
from itertools import islice
from typing import Any

import pytest

from tests.support.machine_modules import carried

cluster_info = carried("cluster_info")


def test_cluster_info_is_signed_for_each_token_by_itself() -> None:
    answer = json.dumps({"data": {"kubeconfig": "", "jws-kubeconfig-abcdef": "eyJhbGciOiJIUzI1NiJ9..sig"}}).encode()
    assert cluster_info.is_signed(answer, "abcdef")
    assert not cluster_info.is_signed(answer, "ghijkl")


@pytest.mark.parametrize("answer", [{}, {"data": None}, {"data": {"kubeconfig": ""}}], ids=str)
def test_cluster_info_without_a_signature_lets_nobody_in(answer: dict[str, Any]) -> None:
    assert not cluster_info.is_signed(json.dumps(answer).encode(), "abcdef")


def test_machines_that_booted_together_look_apart() -> None:
    first = {next(cluster_info.pauses(5.0)) for _ in range(20)}
    assert len(first) > 1
    assert all(0 <= pause <= 5 for pause in first)
    assert list(islice(cluster_info.pauses(5.0), 1, 4)) == [5.0, 5.0, 5.0]
