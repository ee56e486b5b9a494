"""Cloud, kubelets and membership on a clock that moves when told: no sockets, real SQLite file."""

import random
from collections.abc import Iterator
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caravan_sandbox.cloud import Cloud, Ordered, QuotaExceeded
from caravan_sandbox.faults import Fault, FaultKind, Faults
from caravan_sandbox.kube.furniture import is_ready
from caravan_sandbox.kube.resources import NODES
from caravan_sandbox.kubeadm import parse_init
from caravan_sandbox.kubelets import Kubelets
from caravan_sandbox.machines import AddressPool, MachineState
from caravan_sandbox.membership import Membership
from caravan_sandbox.scheduler import Scheduler
from caravan_sandbox.settings import Settings
from caravan_sandbox.store import Store, WrongLayout
from tests.support.authority import VERSION, Authority

AUTHORITY = Authority()


class World:
    """Everything but the listeners."""

    def __init__(self, folder: Path, now: float = 1_000_000.0, **changes: Any) -> None:
        self.settings = Settings(**{"state_dir": folder, "jitter": 0, "seed": 1, **changes})
        self.now = now
        self.store = Store(self.settings.database)
        self.scheduler = Scheduler(lambda: self.now)
        chance = random.Random(1)
        self.faults = Faults(self.settings, chance)
        self.cloud = Cloud(self.settings, self.store, self.scheduler, self.faults, chance)
        self.membership = Membership(self.cloud, self.store, self.scheduler)
        self.kubelets = Kubelets(self.settings, self.cloud, self.membership, self.scheduler)
        self.cloud.when_running.append(self.kubelets.started)
        self.cloud.when_stopped.append(self.kubelets.stopped)
        self.cloud.when_gone.append(self.membership.gone)
        self.cloud.resume()
        self.membership.resume()
        self.kubelets.resume()

    def passes(self, seconds: float, step: float = 0.25) -> None:
        """Let time pass in steps."""
        until = self.now + seconds
        while self.now < until:
            self.now = min(self.now + step, until)
            self.scheduler.run_due()
        self.store.flush()

    def order(self, *names: str, user_data: str | None = None) -> list[str]:
        """Ids of the machines ordered."""
        return [machine.id for machine in self.cloud.create(Ordered(names, "medium", {}, user_data))]

    def init(self, machine_id: str) -> None:
        """Make the cluster on a running machine."""
        machine = self.cloud.machines[machine_id]
        machine.kubelet_version = VERSION
        self.membership.init(machine, parse_init(AUTHORITY.init_config(machine.name)), AUTHORITY.pki())

    def ready(self) -> dict[str, bool]:
        """Readiness by node."""
        nodes = self.membership.clusters[AUTHORITY.ca_hash].collection(NODES).bodies()
        return {node["metadata"]["name"]: is_ready(node) for node in nodes}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A world at rest."""
    made = World(tmp_path)
    yield made
    made.store.close()


def test_machine_boots_after_its_time_not_before(world: World) -> None:
    (one,) = world.order("a")
    world.passes(1.75)
    assert world.cloud.machines[one].state is MachineState.BUILDING
    world.passes(0.5)
    assert world.cloud.machines[one].state is MachineState.ACTIVE


def test_worker_keeps_trying_until_its_cluster_is_there(world: World) -> None:
    world.order("w-1", "w-2", user_data=AUTHORITY.user_data())
    (first,) = world.order("cp-1")
    world.passes(30)
    world.init(first)
    world.passes(1)
    assert world.ready() == {"cp-1": True, "w-1": True, "w-2": True}


def test_silent_node_turns_unknown_after_the_grace_and_ready_when_it_is_back(world: World) -> None:
    first, worker = world.order("cp-1")[0], world.order("w-1", user_data=AUTHORITY.user_data())[0]
    world.passes(3)
    world.init(first)
    world.passes(1)
    world.cloud.power(world.cloud.machines[worker], on=False)
    world.passes(39)
    assert world.ready()["w-1"] is True
    world.passes(2)
    assert world.ready()["w-1"] is False
    world.cloud.power(world.cloud.machines[worker], on=True)
    world.passes(3)
    assert world.ready()["w-1"] is True


def test_node_that_came_back_in_time_never_turns_unknown(world: World) -> None:
    first, worker = world.order("cp-1")[0], world.order("w-1", user_data=AUTHORITY.user_data())[0]
    world.passes(3)
    world.init(first)
    world.passes(1)
    world.cloud.power(world.cloud.machines[worker], on=False)
    world.passes(20)
    world.cloud.power(world.cloud.machines[worker], on=True)
    world.passes(60)
    assert world.ready()["w-1"] is True


def test_expired_token_lets_nobody_join(world: World) -> None:
    (first,) = world.order("cp-1")
    world.passes(3)
    world.init(first)
    world.passes(3601, step=100)
    world.order("w-1", user_data=AUTHORITY.user_data())
    world.passes(10)
    assert world.ready().keys() == {"cp-1"}


def test_node_whose_machine_stopped_before_a_restart_turns_unknown_after_it(tmp_path: Path) -> None:
    before = World(tmp_path)
    first, worker = before.order("cp-1")[0], before.order("w-1", user_data=AUTHORITY.user_data())[0]
    before.passes(3)
    before.init(first)
    before.passes(1)
    before.cloud.delete([worker])
    before.passes(5)
    before.store.close()
    after = World(tmp_path, now=before.now + 10)
    after.passes(20)
    assert after.ready() == {"cp-1": True, "w-1": True}
    after.passes(10)
    assert after.ready() == {"cp-1": True, "w-1": False}
    after.store.close()


def test_quota_counts_machines_that_are_there(tmp_path: Path) -> None:
    world = World(tmp_path, machines_limit=2, delete_s=1)
    world.order("a", "b")
    with pytest.raises(QuotaExceeded) as refused:
        world.order("c")
    assert (refused.value.need, refused.value.free) == (1, 0)
    world.cloud.delete(list(world.cloud.machines))
    world.passes(2)
    world.order("c")
    world.store.close()


def test_a_thousand_machines_cost_few_writes(tmp_path: Path) -> None:
    world = World(tmp_path, vm_boot_s=0, join_s=0)
    (first,) = world.order("cp-1")
    world.passes(0.25)
    world.init(first)
    statements: list[str] = []
    world.store._db.set_trace_callback(statements.append)
    for batch in range(10):
        world.order(*(f"w-{batch}-{number}" for number in range(100)), user_data=AUTHORITY.user_data())
    world.passes(0.5)
    assert len(world.ready()) == 1001
    assert 0 < statements.count("COMMIT") < 100, "one for each batch and each moment, and none for each machine"
    world.store.close()


def test_file_of_another_layout_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path / "a.db")
    store._db.execute("PRAGMA user_version=99")
    store.close()
    with pytest.raises(WrongLayout):
        Store(tmp_path / "a.db")


def test_file_with_ca_keys_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    Store(tmp_path / "a.db").close()
    assert (tmp_path / "a.db").stat().st_mode & 0o077 == 0


@given(moves=st.lists(st.booleans(), max_size=60), start=st.integers(0, 1000))
@settings(max_examples=100)
def test_no_address_is_in_use_twice(moves: list[bool], start: int) -> None:
    network = IPv4Network("127.64.0.0/28")
    pool, used = AddressPool(network, start), list[str]()
    for take in moves:
        if take and len(used) < 14:
            used.append(pool.take())
        elif used:
            pool.free(used.pop(0))
        assert len(set(used)) == len(used)
        assert all(address in map(str, network.hosts()) for address in used)


def test_full_network_is_said() -> None:
    pool = AddressPool(IPv4Network("127.64.0.0/30"), 0)
    pool.take(), pool.take()
    with pytest.raises(LookupError):
        pool.take()


def test_machine_without_a_free_address_ends_in_error(tmp_path: Path) -> None:
    world = World(tmp_path, network=IPv4Network("127.64.0.0/30"))
    world.order("a", "b", "c")
    world.passes(3)
    assert sorted(machine.state for machine in world.cloud.machines.values()) == ["active", "active", "error"]
    world.store.close()


def test_fault_strikes_where_it_fits_and_as_often_as_ordered(world: World) -> None:
    world.faults.order(Fault(FaultKind.APISERVER_503, 2, {"address": "a"}))
    strikes = [bool(world.faults.take(FaultKind.APISERVER_503, address=address)) for address in "abaa"]
    assert strikes == [True, False, True, False]


def test_chance_follows_the_rate(tmp_path: Path) -> None:
    faults = Faults(Settings(state_dir=tmp_path, create_error_rate=0.3), random.Random(1))
    assert 250 < sum(bool(faults.take(FaultKind.CREATE_ERROR)) for _ in range(1000)) < 350


def test_a_users_own_token_is_never_the_sandboxs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARAVAN_TOKEN", "users-own")
    assert Settings().token == "sandbox"
    monkeypatch.setenv("CARAVAN_SANDBOX_TOKEN", "its-own")
    assert Settings().token == "its-own"
