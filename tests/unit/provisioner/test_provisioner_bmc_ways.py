"""Which resets reboot a machine, best first; and whose power can be had at all, by what its entry says."""

from typing import Any

import pytest
from sushy import PowerState, ResetType

from caravan_provisioner.clouds.bmc_ways import ways_to_reboot, ways_to_start
from caravan_provisioner.clouds.static_power import power_problem
from tests.support.inventory import entry

ALL = frozenset(ResetType)


def ways(power: PowerState | None, *allowed: str) -> list[str]:
    taken = frozenset(map(ResetType, allowed)) or ALL
    return ["+".join(reset.value for reset in way) for way in ways_to_reboot(power, taken)]


def test_hardest_is_first_and_what_a_hanging_machine_may_not_heed_is_last() -> None:
    assert ways(PowerState.ON) == ["ForceRestart", "PowerCycle", "ForceOff+On", "GracefulRestart"]
    assert ways(None) == ways(PowerState.ON), "whoever tells no power state is taken for on"


def test_only_what_the_bmc_takes_is_tried() -> None:
    assert ways(PowerState.ON, "On", "ForceOff", "GracefulRestart") == ["ForceOff+On", "GracefulRestart"]
    assert ways(PowerState.ON, "ForceOn", "ForceOff") == ["ForceOff+ForceOn"]
    assert ways(PowerState.ON, "ForceOff", "Nmi", "PushPowerButton") == [], "switched off, it would stay so"


def test_machine_that_is_off_is_switched_on() -> None:
    assert ways(PowerState.OFF) == ["On", "ForceOn"]
    assert ways(PowerState.OFF, "ForceRestart") == []
    assert ways_to_start(ALL) == [(ResetType.ON,), (ResetType.FORCE_ON,)]


@pytest.mark.parametrize(
    ("bmc", "has_password", "problem"),
    [
        (None, False, "rack-0001 has no BMC in the inventory"),
        ({"address": "10.9.0.7"}, False, "the BMC of rack-0001 has no user and no password in the inventory"),
        ({"address": "10.9.0.7", "user": "operator"}, False, "the BMC of rack-0001 has no password in the inventory"),
        ({"address": "10.9.0.7:x", "user": "operator"}, True, "the address of rack-0001's BMC cannot be read: "),
        ({"address": "10.9.0.7", "user": "operator"}, True, None),
    ],
)
def test_entry_says_why_its_machines_power_cannot_be_had(bmc: Any, has_password: bool, problem: str | None) -> None:
    told = power_problem(entry(1, bmc=bmc), has_password=has_password)
    assert (told or "").startswith(problem or "")
    assert (told is None) == (problem is None)
