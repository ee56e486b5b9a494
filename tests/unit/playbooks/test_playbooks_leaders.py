"""Somebody leads where leases change, whatever the clocks say."""

from typing import Any

from tests.support.machine_modules import carried

Leaders = carried("caravan_leaders").Leaders


class Leases:
    """Leases as a kube-apiserver tells them."""

    def __init__(self, **renewed: str) -> None:
        self.renewed = {name.replace("_", "-"): at for name, at in renewed.items()}

    def get(self, kind: str, name: str, *_namespace: str) -> dict[str, Any] | None:
        assert kind == "lease"
        return {"spec": {"renewTime": self.renewed[name]}} if name in self.renewed else None


def test_they_are_at_work_once_both_leases_have_changed() -> None:
    leases = Leases(kube_controller_manager="10:00:00", kube_scheduler="10:00:00")
    leaders = Leaders(leases.get)
    assert not leaders.are_at_work(), "an old lease says nothing"
    leases.renewed["kube-scheduler"] = "10:00:02"
    assert not leaders.are_at_work()
    leases.renewed["kube-controller-manager"] = "09:00:02"  # another machine leads now, by another clock
    assert leaders.are_at_work()


def test_a_lease_that_was_not_there_is_at_work_when_it_comes() -> None:
    leases = Leases(kube_scheduler="10:00:00")
    leaders = Leaders(leases.get)
    assert not leaders.are_at_work()
    leases.renewed["kube-scheduler"] = "10:00:02"
    assert not leaders.are_at_work()
    leases.renewed["kube-controller-manager"] = "10:00:03"
    assert leaders.are_at_work()
