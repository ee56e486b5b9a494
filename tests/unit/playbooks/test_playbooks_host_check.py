"""All that keeps a machine from becoming a node is told at once, and what a container cannot help does not count."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.machine_modules import carried

Host: Any = carried("node_state").Host
host_check = carried("host_check")
host_facts = carried("host_facts")

ARTIFACTS = {
    "binaries": [{"name": "kubelet", "url": "/mirror/kubelet"}, {"name": "runc", "url": "/mirror/runc"}],
    "archives": [{"url": "/mirror/c.tgz", "creates": "/usr/local/bin/containerd"}],
}
GOOD = host_check.Seen(
    system="Linux",
    machine="x86_64",
    systemd=True,
    root=True,
    python=(3, 11),
    container=False,
    ours=False,
    joined=False,
    cpus=2,
    memory_mib=1700,
    swaps=(),
    listeners={},
    hostname="n1",
    machine_id="0" * 32,
    modules=frozenset(host_check.MODULES),
    cgroups=host_check.CGROUPS_V1,
    cgroup_v2=False,
    skew_s=1.0,
    disk_free=50 << 30,
    disk_size=100 << 30,
    commands=frozenset(host_check.COMMANDS),
    has_address=True,
    resolved=True,
    runtime=frozenset(host_check.RUNTIME),
    unreadable={},
)


def wanted(role: str = "control-plane", **more: Any) -> Any:
    parameters = {"role": role, "node": "n1", "address": "10.0.0.1", "api_port": 6443, "own_etcd": True}
    carried = {"virtual_ip": "10.0.0.250", "first": True}
    return host_check.wanted_from({**parameters, **carried, "resolvers": True, "artifacts": ARTIFACTS, **more})


def problems(role: str = "control-plane", *, artifacts: Any = None, **seen: Any) -> list[str]:
    asked = wanted(role, artifacts=ARTIFACTS if artifacts is None else artifacts)
    return list(host_check.problems(asked, replace(GOOD, **seen)))


def test_good_machine_has_no_problem() -> None:
    assert problems() == problems("worker", cpus=1, memory_mib=512) == problems("etcd", cpus=1) == []


@pytest.mark.parametrize(
    ("seen", "told"),
    [
        ({"machine": "aarch64"}, "the system is Linux on aarch64: use"),
        ({"systemd": False}, "systemd is not process 1: use"),
        ({"root": False}, "the login user is not root: let"),
        ({"python": (3, 8)}, "Python is 3.8: install"),
        ({"cpus": 1}, "it has 1 CPU, 2 are needed: use"),
        ({"memory_mib": 1024}, "it has 1024 MiB of memory, 1700 are needed: use"),
        ({"swaps": ("/dev/sda2",)}, "swap is on (/dev/sda2): swapoff"),
        ({"disk_free": 1 << 30}, "/var/lib has 1.0 GiB (1%) left"),
        ({"disk_free": 10 << 30}, "/var/lib has 10.0 GiB (10%) left"),
        ({"modules": frozenset({"overlay"})}, "the kernel has no br_netfilter: install"),
        ({"cgroups": host_check.CGROUPS_V1 - {"pids"}}, "the cgroup controllers pids are off: enable"),
        ({"cgroup_v2": True, "cgroups": frozenset({"cpu", "memory", "pids"})}, "the cgroup controllers cpuset are off"),
        ({"hostname": "localhost"}, "its host name is localhost: hostnamectl set-hostname n1"),
        ({"machine_id": "uninitialized"}, "/etc/machine-id holds no id"),
        ({"skew_s": -90.0}, "its clock is 90 s behind ours: let"),
        ({"skew_s": 31.0}, "its clock is 31 s ahead of ours"),
        ({"joined": True}, "it is a node of another cluster already: kubeadm reset"),
        ({"has_address": False}, "no interface has its address 10.0.0.1: configure"),
        ({"resolved": False}, "systemd-resolved does not run"),
        ({"listeners": {6443: "nginx"}}, "port 6443 is taken by nginx: stop it, kube-apiserver needs"),
        ({"listeners": {2379: "etcd"}}, "port 2379 is taken by etcd"),
        ({"commands": frozenset(host_check.COMMANDS) - {"socat"}}, "commands are missing (socat): install"),
        (
            {"reaches_virtual_ip": False},
            "the virtual IP 10.0.0.250 is in another network than its address 10.0.0.1: make",
        ),
        ({"virtual_ip_owner": "02:42:0a:00:00:09"}, "the virtual IP 10.0.0.250 is taken, 02:42:0a:00:00:09 answers"),
        ({"unreadable": {"/mirror/kubelet": "there is no such file"}}, "/mirror/kubelet cannot be read (there is no"),
    ],
)
def test_problem_says_what_is_wrong_and_what_to_do(seen: Mapping[str, Any], told: str) -> None:
    (problem,) = problems(**seen)
    assert problem.startswith(told)
    assert ": " in problem


def test_all_problems_are_told_at_once() -> None:
    assert len(problems(systemd=False, cpus=1, swaps=("/dev/sda2",), hostname="x", listeners={10250: "sshd"})) == 5


def test_swap_and_fullness_of_a_container_are_its_hosts_affair() -> None:
    assert problems(container=True, swaps=("/dev/sda2",), disk_free=10 << 30) == []
    assert len(problems(container=True, disk_free=1 << 30)) == 1


def test_ports_that_our_own_processes_hold_are_free() -> None:
    held = {6443: "kube-apiserver", 10250: "kubelet", 2379: "etcd"}
    assert problems(ours=True, joined=True, listeners=held) == []
    assert problems(ours=True, listeners={10250: "sshd"}) != []


def test_ports_go_by_role() -> None:
    assert sorted(wanted().ports) == [2379, 2380, 6443, 10250, 10257, 10259]
    assert sorted(wanted(own_etcd=False, api_port=8443).ports) == [8443, 10250, 10257, 10259]
    assert sorted(wanted("worker").ports) == [10250]
    assert sorted(wanted("etcd", artifacts={}).ports) == [2379, 2380]


def test_nodes_without_pods_need_no_runtime() -> None:
    bare: dict[str, Any] = {"runtime": frozenset(), "commands": frozenset(), "modules": frozenset()}
    assert problems("etcd", artifacts={}, **bare) == []
    assert len(problems("worker", **bare)) == 2  # the runtime itself is among the artifacts
    kubelet_alone = {"binaries": ARTIFACTS["binaries"][:1]}
    (problem,) = problems("worker", artifacts=kubelet_alone, runtime=frozenset())
    assert problem.startswith("there is no containerd and no runc, here or in the mirror")


def host(root: Path, **files: str) -> Any:
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Host(str(root))


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 2048),
        ({"sys__fs__cgroup__memory.max": "max\n"}, 2048),
        ({"sys__fs__cgroup__memory.max": f"{1 << 30}\n"}, 1024),
        ({"sys__fs__cgroup__memory__memory.limit_in_bytes": f"{1 << 29}\n"}, 512),
        ({"sys__fs__cgroup__memory__memory.limit_in_bytes": "9223372036854771712\n"}, 2048),
    ],
)
def test_memory_is_what_the_machine_may_use(tmp_path: Path, files: dict[str, str], expected: int) -> None:
    meminfo = {"proc__meminfo": f"MemTotal:   {2048 * 1024} kB\nMemFree: 1 kB\n"}
    assert host_facts.memory(host(tmp_path, **meminfo, **files)) == expected << 20


@pytest.mark.parametrize(
    "files",
    [
        {"sys__fs__cgroup__cpu.max": "100000 100000\n"},
        {"sys__fs__cgroup__cpu__cpu.cfs_quota_us": "50000", "sys__fs__cgroup__cpu__cpu.cfs_period_us": "50000"},
    ],
)
def test_cpus_are_those_of_the_quota(tmp_path: Path, files: dict[str, str]) -> None:
    assert host_facts.cpus(host(tmp_path, **files)) == 1


def test_controllers_have_to_be_enabled_and_mounted(tmp_path: Path) -> None:
    text = "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpu\t1\t2\t1\npids\t2\t2\t0\nmemory\t3\t1\t1\n"
    mounts = "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu,pids 0 0\n"
    assert host_facts.cgroups(host(tmp_path, proc__cgroups=text, proc__mounts=mounts), v2=False) == {"cpu"}


def test_listeners_are_told_from_connections(tmp_path: Path) -> None:
    head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    rows = [(10250, "0A"), (6443, "01"), (22, "0A")]
    table = head + "".join(
        f"   {n}: 00000000:{port:04X} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000 0 0 {n}00 1\n"
        for n, (port, state) in enumerate(rows, start=1)
    )
    machine = host(tmp_path, proc__net__tcp=table)
    assert host_facts.listeners(machine, wanted().ports) == {10250: "another process"}
    for link, target in (("7/fd/3", "socket:[100]"), ("7/exe", "/usr/local/bin/kubelet")):
        path = tmp_path / "proc" / link
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target)
    assert host_facts.listeners(machine, wanted().ports) == {10250: "kubelet"}


def test_missing_files_of_a_mirror_are_named(tmp_path: Path) -> None:
    (tmp_path / "there").touch()
    files = (str(tmp_path / "there"), str(tmp_path / "gone"))
    assert host_facts.unreadable(files) == {str(tmp_path / "gone"): "there is no such file"}


class Network(Host):
    """A machine whose `ip` answers by what was laid down, and that remembers what it was asked."""

    def __init__(self, answers: Mapping[str, str]) -> None:
        super().__init__()
        self.answers, self.asked = answers, list[str]()

    def run(self, *command: str, check: bool = True, given: str = "") -> str:
        words = " ".join(command)
        self.asked.append(words)
        return next((answer for begins, answer in self.answers.items() if words.startswith(begins)), "")


ADDRESS = '[{},{"ifname":"eth1"}]'


@pytest.mark.parametrize(
    ("route", "interface"),
    [
        ('[{"dst":"192.0.2.250","dev":"eth1","prefsrc":"192.0.2.1"}]', "eth1"),
        ('[{"dst":"192.0.2.250","gateway":"192.0.2.254","dev":"eth1"}]', ""),
        ('[{"dst":"192.0.2.250","dev":"eth0"}]', ""),
        ("", ""),
    ],
)
def test_virtual_ip_is_reached_only_by_the_network_of_the_nodes_address(route: str, interface: str) -> None:
    host = Network({"ip -json route get 192.0.2.250": route, "ip -json address show to 192.0.2.1": ADDRESS})
    asked = wanted(address="192.0.2.1", virtual_ip="192.0.2.250")
    assert host_facts.virtual_ip_interface(host, asked) == interface


def test_nodes_that_carry_none_and_one_that_has_it_already_are_not_asked() -> None:
    host = Network({})
    assert host_facts.virtual_ip_interface(host, wanted(virtual_ip="")) is None
    assert host_facts.virtual_ip_interface(host, wanted(virtual_ip="127.0.0.1")) is None
    assert host.asked == []


@pytest.mark.parametrize(
    ("neighbours", "owner"),
    [
        ('[{"dst":"127.0.0.9","lladdr":"02:42:0a:00:00:09","state":["REACHABLE"]}]', "02:42:0a:00:00:09"),
        ('[{"dst":"127.0.0.9","lladdr":"02:42:0a:00:00:09","state":["STALE"]}]', "02:42:0a:00:00:09"),
        ('[{"dst":"127.0.0.9","state":["FAILED"]}]', ""),
    ],
)
def test_whoever_answers_for_an_address_is_found_among_the_neighbours(neighbours: str, owner: str) -> None:
    host = Network({"ip -json neighbour show to 127.0.0.9 dev lo": neighbours})
    assert host_facts.owner(host, "127.0.0.9", "lo") == owner
    assert host.asked[0] == "ip neighbour flush to 127.0.0.9 dev lo"  # else it would be told what once was
