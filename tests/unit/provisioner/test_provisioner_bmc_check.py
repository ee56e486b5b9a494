"""What a check says of many BMCs: no more than a person reads, and nothing of whoever did not answer in time.

The BMCs are a stand-in, because none answers late on demand; real answers are in `test_provisioner_redfish`.
"""

import asyncio
from typing import Any, cast

import pytest
from sushy import PowerState

from caravan_provisioner.clouds import static_check
from caravan_provisioner.clouds.bmc_faults import NotLetIn
from caravan_provisioner.clouds.bmc_redfish import BmcLogin
from caravan_provisioner.clouds.bmcs import Bmcs
from caravan_provisioner.clouds.static_check import findings_of_power
from caravan_shared.contracts.facts import Finding
from tests.support.inventory import entry, row

BMC = {"address": "10.9.0.1", "user": "operator"}


class Stood:
    """BMCs of machines that are on; some are late, some refuse."""

    def __init__(self, *, late: frozenset[str] = frozenset(), refuse: frozenset[str] = frozenset()) -> None:
        self.late, self.refuse = late, refuse

    async def power(self, login: str) -> PowerState:
        if login in self.late:
            await asyncio.Event().wait()
        if login in self.refuse:
            raise NotLetIn(f"the BMC of {login} refuses", "change the password")
        return PowerState.ON


async def checked(machines: int, bmcs: Stood, *, bmc: Any = BMC) -> list[Finding]:
    entries = [entry(number, bmc=bmc) for number in range(machines)]
    rows = [row(each, "sealed") for each in entries]
    return list(await findings_of_power(rows, cast("Bmcs", bmcs), lambda machine: cast("BmcLogin", machine.name)))


async def test_whoever_does_not_answer_in_time_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(static_check, "_WITHIN_S", 0.05)
    well, late = await checked(2, Stood(late=frozenset({"rack-0001"})))
    assert well.says == "1 let us in, power On: rack-0000"
    assert late.says == "1 had not answered after 0.05 s: rack-0001"


async def test_hundreds_of_machines_are_told_on_a_page() -> None:
    names = frozenset(f"rack-{number:04d}" for number in range(300))
    refused = await checked(300, Stood(refuse=names))
    assert len(refused) == 21
    assert refused[-1].says.startswith("280 others have such faults: rack-0020, ")
    assert refused[-1].says.endswith(" and 260 more")
    (well,) = await checked(300, Stood())
    assert well.says.endswith(" and 280 more")
    (without,) = await checked(300, Stood(), bmc=None)
    assert without.says.endswith("rack-0019 has no BMC in the inventory and 280 more")


async def test_inventory_without_machines_has_nothing_to_tell() -> None:
    assert await checked(0, Stood()) == []
