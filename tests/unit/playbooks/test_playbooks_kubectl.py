"""What is read out of a kube-apiserver's answers."""

from typing import Any

import pytest

from tests.support.machine_modules import carried

is_rolled_out = carried("caravan_kubectl").is_rolled_out


@pytest.mark.parametrize(
    ("status", "rolled_out"),
    [
        (
            {"observedGeneration": 2, "desiredNumberScheduled": 3, "updatedNumberScheduled": 3, "numberAvailable": 3},
            True,
        ),
        (
            {"observedGeneration": 1, "desiredNumberScheduled": 3, "updatedNumberScheduled": 3, "numberAvailable": 3},
            False,
        ),
        (
            {"observedGeneration": 2, "desiredNumberScheduled": 3, "updatedNumberScheduled": 2, "numberAvailable": 3},
            False,
        ),
        (
            {"observedGeneration": 2, "desiredNumberScheduled": 3, "updatedNumberScheduled": 3, "numberAvailable": 2},
            False,
        ),
        ({"observedGeneration": 2, "desiredNumberScheduled": 3, "updatedNumberScheduled": 3}, False),
        ({}, False),
    ],
)
def test_rolled_out_is_new_and_available_on_every_node(status: dict[str, Any], rolled_out: bool) -> None:
    assert is_rolled_out({"metadata": {"generation": 2}, "status": status}) is rolled_out
