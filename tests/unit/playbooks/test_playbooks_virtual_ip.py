"""kube-vip on a control plane: its manifest as rendered, and how it and the address are taken away again."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml

from tests.support.kubeadm import PLAYBOOKS, rendered
from tests.support.machine_modules import carried

virtual_ip = carried("caravan_virtual_ip")
node_reset = carried("node_reset")
node_state = carried("node_state")

ARTIFACTS = {"control-plane": {"kube_vip": "ghcr.io/kube-vip/kube-vip:v0.9.2"}}


def pod(**variables: Any) -> dict[str, Any]:
    """The manifest."""
    told = {"linux_kubeconfig": "admin.conf", "caravan_virtual_ip": "10.0.0.250", "caravan_artifacts": ARTIFACTS}
    found: dict[str, Any] = yaml.safe_load(rendered("roles/linux/templates/kube_vip.yaml.j2", **{**told, **variables}))
    return found


def environment(manifest: dict[str, Any]) -> dict[str, str]:
    """All values are text, as a container's have to be."""
    (container,) = manifest["spec"]["containers"]
    values = {entry["name"]: entry["value"] for entry in container["env"]}
    assert all(isinstance(value, str) for value in values.values())
    return values


def test_kube_vip_carries_the_address_on_the_interface_of_the_node_and_asks_its_own_kube_apiserver() -> None:
    manifest = pod()
    told = environment(manifest)
    assert (told["address"], told["port"], told["vip_interface"]) == ("10.0.0.250", "6443", "{interface}")
    assert told["kubernetes_addr"] == "https://10.0.0.4:6443"
    assert told["vip_nodename"] == "demo-control-plane-1"
    assert (told["vip_arp"], told["cp_enable"], told["vip_leaderelection"]) == ("true", "true", "true")
    assert manifest["spec"]["hostNetwork"] is True
    assert environment(pod(kubeadm_address="fd00::4"))["kubernetes_addr"] == "https://[fd00::4]:6443"


def test_lease_is_renewed_more_often_than_it_is_given_up_and_given_up_before_it_is_another_ones() -> None:
    told = environment(pod())
    retry, renew, lasts = (int(told[f"vip_{name}"]) for name in ("retryperiod", "renewdeadline", "leaseduration"))
    assert 2 * retry < renew < lasts
    assert lasts + 2 * retry < 30  # seconds until another control plane carries the address


def test_only_the_first_control_plane_borrows_other_credentials_and_only_at_first() -> None:
    first, then = pod(linux_kubeconfig="super-admin.conf"), pod()
    assert first["spec"].pop("volumes")[0]["hostPath"]["path"] == "/etc/kubernetes/super-admin.conf"
    assert then["spec"].pop("volumes")[0]["hostPath"] == {"path": "/etc/kubernetes/admin.conf", "type": "File"}
    assert first == then


@pytest.mark.parametrize(
    ("told", "carries"),
    [
        ({}, False),
        ({"caravan_virtual_ip": ""}, False),
        ({"caravan_virtual_ip": None}, False),  # what Ansible makes of an unsafe empty text
        ({"caravan_virtual_ip": "10.0.0.250"}, True),
        ({"caravan_virtual_ip": "10.0.0.250", "caravan_role": "worker"}, False),
    ],
)
def test_only_control_planes_carry_it_and_only_where_there_is_one(told: dict[str, Any], carries: bool) -> None:
    variables = yaml.safe_load((PLAYBOOKS / "roles/linux/vars/main.yml").read_text())
    template = jinja2.Environment(autoescape=True).from_string(variables["linux_carries_virtual_ip"])
    assert template.render({"caravan_role": "control-plane", **told}) == str(carries)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "Machine":
    """A control plane that carries the virtual IP."""
    made = Machine(tmp_path / "kube-vip.yaml")
    monkeypatch.setattr(virtual_ip, "MANIFEST", made.manifest)
    monkeypatch.setattr(virtual_ip, "run", made.run)
    monkeypatch.setattr(virtual_ip.static_pods, "running", made.running)
    monkeypatch.setattr(virtual_ip.static_pods, "end", made.end)
    monkeypatch.setattr(virtual_ip.static_pods, "wait_until", made.wait_until)
    return made


class Machine:
    """What of it a control plane has, and what was done."""

    def __init__(self, manifest: Path) -> None:
        self.manifest, self.interface, self.container = manifest, "eth0", "c1"
        self.done: list[str] = []
        self.slept: list[float] = []
        manifest.write_text("kind: Pod")

    def run(self, argv: list[str], _timeout_s: float) -> str:
        if argv[:4] == ["ip", "-json", "address", "show"]:
            return f'[{{}},{{"ifname":"{self.interface}"}}]' if self.interface else "[{}]"
        self.done.append(" ".join(argv))
        self.interface = ""
        return ""

    def running(self) -> dict[str, tuple[str, float]]:
        return {"kube-vip": (self.container, 1.0)} if self.container else {}

    def end(self, container: str) -> None:
        assert not self.manifest.exists(), "the kubelet would start another"
        self.done.append(f"end {container}")
        self.container = ""

    def wait_until(self, holds: Callable[[], bool], _within_s: float, otherwise: str) -> None:
        assert holds(), otherwise


def test_kube_vip_is_ended_before_its_address_is_taken_and_a_second_time_nothing_is_left(machine: Machine) -> None:
    virtual_ip.remove("10.0.0.250")
    assert machine.done == ["end c1", "ip address delete 10.0.0.250/32 dev eth0"]
    assert not virtual_ip.is_here("10.0.0.250")
    virtual_ip.remove("10.0.0.250")
    assert len(machine.done) == 2


def test_address_that_a_killed_kube_vip_left_is_taken_as_well(machine: Machine) -> None:
    machine.manifest.unlink()
    machine.container = ""
    assert virtual_ip.is_here("fd00::fa")
    assert list(virtual_ip.removal("fd00::fa")) == ["address fd00::fa on eth0"]
    assert machine.done == ["ip address delete fd00::fa/128 dev eth0"]


def test_reset_takes_the_virtual_ip_first(machine: Machine, tmp_path: Path) -> None:
    """kubeadm would kill kube-vip, and the address would stay."""
    host = node_state.Host(str(tmp_path))
    assert node_reset.reset(host, virtual_ip="10.0.0.250", check=True)[0] == "virtual IP 10.0.0.250"
    assert machine.done == []
    assert "virtual IP 10.0.0.250" not in node_reset.reset(host, check=True)


@dataclass
class Neighbours:
    """Whether another control plane answers at the address; the first asks are in vain."""

    silent_for: int

    def unready(self, _address: str, _port: int) -> str | None:
        self.silent_for -= 1
        return "timed out" if self.silent_for >= 0 else None


@pytest.fixture
def placed(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Manifests as they were placed; whenever one is, another container of kube-vip starts."""
    contents: list[str] = []

    def apply(document: Any, host: Any, *, check: bool) -> list[str]:
        (file,) = document["files"]
        if machine.manifest.exists() and machine.manifest.read_text() == file["content"]:
            return []
        if not check:
            contents.append(file["content"])
            machine.manifest.write_text(file["content"])
            machine.container = f"c{len(contents) + 1}"
        return [f"file {file['path']}"]

    monkeypatch.setattr(virtual_ip, "apply", apply)
    monkeypatch.setattr(virtual_ip.time, "sleep", machine.slept.append)
    return contents


CARRIED = virtual_ip.VirtualIp("10.0.0.250", 6443, "10.0.0.4")


def test_address_is_waited_for_after_another_kube_vip_has_started(
    placed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(virtual_ip, "unready", Neighbours(silent_for=3).unready)
    assert len(CARRIED.present("kind: Pod # admin.conf", check=False)) == 1
    assert CARRIED.present("kind: Pod # admin.conf", check=False) == []
    assert placed == ["kind: Pod # admin.conf"]


def test_control_plane_that_leaves_takes_it_away_once_another_answers(
    machine: Machine, placed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(virtual_ip, "unready", Neighbours(silent_for=2).unready)
    assert CARRIED.elsewhere(check=True) == ["virtual IP 10.0.0.250"]
    assert len(CARRIED.elsewhere(check=False)) == 3
    assert (machine.manifest.exists(), machine.container, machine.interface) == (False, "", "")
    assert machine.slept[-1] > 30, "kube-proxies would not know yet that they have to listen elsewhere"
    assert CARRIED.elsewhere(check=False) == placed == []


def test_control_plane_that_did_not_carry_it_need_not_wait(
    machine: Machine, placed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.interface = ""
    monkeypatch.setattr(virtual_ip, "unready", Neighbours(silent_for=0).unready)
    CARRIED.elsewhere(check=False)
    assert (machine.slept, placed) == ([], [])


def test_control_plane_that_nobody_follows_carries_it_again(
    machine: Machine, placed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(virtual_ip, "unready", lambda *_: "timed out")
    monkeypatch.setattr(virtual_ip, "TAKEN_OVER_WITHIN_S", 0)
    with pytest.raises(virtual_ip.static_pods.TooSlow, match=r"nobody answers at the virtual IP 10\.0\.0\.250"):
        CARRIED.elsewhere(check=False)
    assert placed == ["kind: Pod"]
    assert machine.container == "c2"
