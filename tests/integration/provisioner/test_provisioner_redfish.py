"""Physical machines' power by Redfish, from a real far end: OpenStack's sushy-emulator, over TLS and with passwords."""

import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from caravan_provisioner.clouds import bmcs as waits
from caravan_provisioner.clouds import static_inventory
from caravan_provisioner.clouds.bmc_faults import (
    BmcFault,
    NoSystem,
    NotLetIn,
    NotRedfish,
    ResetRefused,
    Unclear,
    Unreachable,
    Untrusted,
)
from caravan_provisioner.clouds.bmc_redfish import BmcLogin
from caravan_provisioner.clouds.bmcs import Bmcs
from caravan_provisioner.clouds.static import StaticConfig
from caravan_provisioner.settings import Settings
from caravan_shared.contracts.bmc import bmc_context
from caravan_shared.contracts.events import NodesFailed, NodesRepairHeld
from caravan_shared.contracts.facts import FindingLevel, ReadyNode
from caravan_shared.contracts.requests import AskCloudCheck, CloudCheck
from caravan_shared.contracts.spec import ClusterSpec, ControlPlane, WorkerSet
from caravan_shared.contracts.states import InventoryState, Verdict
from caravan_shared.plumbing.service import Service
from tests.integration.provisioner.conftest import Asker
from tests.support.eventually import eventually
from tests.support.inventory import by_state, entry, stock, stock_with_bmcs, work_once, working
from tests.support.redfish import PASSWORD, USER, Redfish, system


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """The far end is near, and takes a second for what takes machines many."""
    monkeypatch.setattr(waits, "_PAUSE_S", 0.01)
    monkeypatch.setattr(waits, "_LOOK_EVERY_S", 0.1)


@pytest.fixture
async def asked() -> AsyncIterator[Bmcs]:
    """Who asks BMCs."""
    asked = Bmcs("metal", at_once=4, timeout_s=20)
    yield asked
    await asked.close()


def login(redfish: Redfish, number: int = 0, **changes: Any) -> BmcLogin:
    told: dict[str, Any] = {
        "machine": f"rack-{number:04d}",
        "url": redfish.url,
        "system": f"/redfish/v1/Systems/{system(number)}",
        "user": USER,
        "password": PASSWORD,
        "fingerprint": redfish.fingerprint,
        "verify": True,
    }
    return BmcLogin(**{**told, **changes})


@pytest.mark.parametrize("believes", ["its fingerprint", "its authority", "anybody"])
async def test_power_is_told_to_whoever_believes_the_certificate(redfish: Redfish, asked: Bmcs, believes: str) -> None:
    trust: dict[str, dict[str, Any]] = {
        "its fingerprint": {},
        "its authority": {"fingerprint": None, "verify": redfish.authority},
        "anybody": {"fingerprint": None, "verify": False},
    }
    await redfish.set_power(1, on=True)
    power = await asked.power(login(redfish, 1, **trust[believes]))
    assert power is not None
    assert power.value == "On"


@pytest.mark.parametrize(
    ("wrong", "fault", "says", "mend"),
    [
        ({"fingerprint": None}, Untrusted, "no authority known here", "--bmc-fingerprint"),
        ({"fingerprint": "ab" * 32}, Untrusted, "another certificate than", "compare it"),
        ({"password": "wrong"}, NotLetIn, "refuses the user operator or the password", "--bmc-password"),
        ({"user": "nobody"}, NotLetIn, "refuses the user nobody", "--bmc-user"),
        ({"system": "/redfish/v1/Systems/7"}, NoSystem, "has no /redfish/v1/Systems/7", "--bmc-system"),
        ({"system": None}, NoSystem, "has several systems", f"{system(1)}, {system(2)}"),
        ({"system": "/redfish/v1/"}, NotRedfish, "not as Redfish does", "its address"),
        ({"url": "https://127.0.0.1:1"}, Unreachable, "Connection refused", "network"),
    ],
)
async def test_fault_says_what_is_wrong_and_who_mends_it(
    redfish: Redfish, asked: Bmcs, wrong: dict[str, Any], fault: type[BmcFault], says: str, mend: str
) -> None:
    redfish.meddle(listed=[system(1), system(2)])
    with pytest.raises(fault) as raised:
        await asked.reboot(login(redfish, 1, **wrong))
    assert says in raised.value.says
    assert mend in raised.value.mend
    assert "rack-0001" in raised.value.says
    assert raised.value.sentence.endswith("another try may help") is (fault is Unreachable)


async def test_certificate_that_is_not_believed_is_shown_for_comparison(redfish: Redfish, asked: Bmcs) -> None:
    with pytest.raises(Untrusted, match=redfish.fingerprint):
        await asked.power(login(redfish, fingerprint=None))


async def test_only_system_needs_no_name(redfish: Redfish, asked: Bmcs) -> None:
    redfish.meddle(listed=[system(2)])
    assert await asked.power(login(redfish, system=None))
    redfish.meddle(listed=[])
    with pytest.raises(NoSystem, match="has no system"):
        await asked.power(login(redfish, system=None))


@pytest.mark.parametrize(
    ("meddling", "resets"),
    [
        ({}, 1),
        ({"allowed": ["On", "ForceOff", "GracefulShutdown"]}, 2),
        ({"allowed": ["On", "GracefulRestart"]}, 1),
        ({"refused": ["ForceRestart"]}, 3),
    ],
    ids=["restart", "off and on", "gracefully", "the next way where one is refused"],
)
async def test_machine_is_rebooted_as_its_bmc_can_and_is_on_afterwards(
    redfish: Redfish, asked: Bmcs, meddling: dict[str, Any], resets: int
) -> None:
    await redfish.set_power(3, on=True)
    before = redfish.resets(3)
    redfish.meddle(**meddling)
    await asked.reboot(login(redfish, 3))
    assert (redfish.resets(3) - before, await redfish.power(3)) == (resets, "On")


async def test_machine_that_is_off_is_switched_on(redfish: Redfish, asked: Bmcs) -> None:
    await redfish.set_power(4, on=False)
    redfish.meddle(refused=["ForceRestart", "ForceOff", "GracefulRestart"])
    await asked.reboot(login(redfish, 4))
    assert await redfish.power(4) == "On"


@pytest.mark.parametrize(
    ("meddling", "says"),
    [
        ({"allowed": ["Nmi", "ForceOff"]}, "no reset that would help: it takes ForceOff, Nmi"),
        (
            {"refused": ["ForceRestart", "ForceOff", "GracefulRestart"]},
            "409 GracefulRestart goes not with the system's state",
        ),
    ],
    ids=["nothing that helps", "everything is refused"],
)
async def test_bmc_that_does_not_reset_leaves_the_machine_as_it_is(
    redfish: Redfish, asked: Bmcs, meddling: dict[str, Any], says: str
) -> None:
    await redfish.set_power(5, on=True)
    redfish.meddle(**meddling)
    with pytest.raises(ResetRefused) as refused:
        await asked.reboot(login(redfish, 5))
    assert says in refused.value.says
    assert await redfish.power(5) == "On"


async def test_reset_whose_answer_is_lost_is_sent_once_and_its_outcome_looked_at(redfish: Redfish, asked: Bmcs) -> None:
    await redfish.set_power(6, on=True)
    before = redfish.resets(6)
    redfish.meddle(loses=["ForceRestart"])
    with pytest.raises(Unclear, match=r"did not say whether it does that .* after that, rack-0006 was O(n|ff)"):
        await asked.reboot(login(redfish, 6))
    assert redfish.resets(6) - before == 1


async def test_machine_that_was_only_switched_off_is_told_as_that(redfish: Redfish, asked: Bmcs) -> None:
    await redfish.set_power(7, on=True)
    redfish.meddle(allowed=["ForceOff", "On"], refused=["On"])
    with pytest.raises(Unclear, match="was switched off and not on again"):
        await asked.reboot(login(redfish, 7))


# --- the provisioner ---


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """An inventory, with more time for a reboot to help than any test takes."""
    return settings.model_copy(update={"clouds": {"metal": StaticConfig()}, "reboot_wait_s": 600})


async def silent(asker: Asker) -> ReadyNode:
    """The worker of a new cluster on the inventory, which health finds Unreachable."""
    asker.generation += 1
    asker.spec = ClusterSpec(
        version="1.34.2",
        cloud="metal",
        control_plane=ControlPlane(count=1, machine_type="small"),
        workers=(WorkerSet(count=1, machine_type="small"),),
    )
    await asker.announce()
    made = await asker.made()
    await asker.join(*(node for nodes in made.values() for node in nodes))
    (node,) = made["workers"]
    await asker.judge(Verdict.UNREACHABLE, node)
    return node


async def under(service: Service, node: ReadyNode) -> int:
    """The number of the machine under a node."""
    (name,) = [row.name for row in await by_state(service.db, InventoryState.CLAIMED) if row.node == node.name]
    return int(name.removeprefix("rack-"))


async def test_silent_machine_is_rebooted_by_its_bmc_and_kept_if_that_helps(
    redfish: Redfish, asker: Asker, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await stock_with_bmcs(service.db, 3, redfish, service.keys)
    before = [redfish.resets(number) for number in range(3)]
    async with working(service.db):
        node = await silent(asker)
        number = await under(service, node)
        await eventually(lambda: redfish.resets(number) > before[number], saying="the machine was reset")
        await asker.judge(Verdict.HEALTHY, node)
        held = await asker.until_told(
            NodesRepairHeld, lambda events: events[-1].nodes[0].reason == "" if events else False
        )
    assert held[0].nodes[0].reason.startswith("it is rebooted first")
    assert sum(redfish.resets(number) for number in range(3)) - sum(before) == 1
    assert await asker.told(NodesFailed) == []
    assert PASSWORD not in caplog.text


async def test_machine_that_its_bmc_does_not_reboot_is_replaced_and_told_why(
    redfish: Redfish, asker: Asker, service: Service
) -> None:
    await stock_with_bmcs(service.db, 3, redfish, service.keys)
    redfish.meddle(allowed=["On"])
    async with working(service.db):
        node = await silent(asker)
        (failed,) = await asker.until_told(NodesFailed)
    assert failed.nodes[0].name == node.name
    assert "it was not rebooted: cloud 'metal' refused: the BMC of rack-" in failed.nodes[0].reason
    assert "no reset that would help" in failed.nodes[0].reason


async def test_machine_without_bmc_is_replaced_at_once_and_told_why(asker: Asker, service: Service) -> None:
    await stock(service.db, 3)
    async with working(service.db):
        await silent(asker)
        (failed,) = await asker.until_told(NodesFailed)
    assert failed.nodes[0].reason.endswith("has no BMC in the inventory")
    assert "it was not rebooted: rack-" in failed.nodes[0].reason


async def test_check_tells_of_every_bmc_and_changes_nothing(redfish: Redfish, service: Service) -> None:
    await stock_with_bmcs(service.db, 3, redfish, service.keys)
    await redfish.set_power(2, on=False)
    before = [redfish.resets(number) for number in range(6)]
    others = [
        entry(3, bmc=redfish.bmc(3)),
        entry(4, bmc=redfish.bmc(4, address="https://127.0.0.1:1")),
        entry(5),
    ]
    sealed = {each.name: service.keys.seal("not-the-password", bmc_context(each.name)) for each in others[:2]}
    async with service.db.transaction() as tx:
        await static_inventory.take_in(tx, others, sealed, datetime.now(UTC))
    await work_once(service.db)
    found = (await service.ask(AskCloudCheck(cloud="metal"), CloudCheck)).findings
    told = {finding.about: finding for finding in found}
    powers = [finding.says for finding in found if finding.about == "BMCs"]
    assert powers == ["1 let us in, power Off: rack-0002", "2 let us in, power On: rack-0000, rack-0001"]
    assert told["power"].says == "rack-0005 has no BMC in the inventory"
    assert told["BMC of rack-0003"].level is FindingLevel.WARNING
    assert "refuses the user operator or the password" in told["BMC of rack-0003"].says
    assert "does not answer" in told["BMC of rack-0004"].says
    assert told["BMC of rack-0004"].mend.endswith("Or check again: it may pass.")
    assert told["machine types"].says == "small"
    assert not any(finding.level is FindingLevel.FATAL for finding in found)
    assert [redfish.resets(number) for number in range(6)] == before
    assert PASSWORD not in CloudCheck(cloud="metal", kind="static", findings=found).model_dump_json()
