"""What machines boot with, from the template that the playbooks share."""

import ast
import base64
import gzip
import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from caravan_bootstrapper import kubeadm, tokens, versions
from caravan_bootstrapper.settings import Settings
from caravan_sandbox.userdata import join_config
from caravan_shared.contracts.spec import NodeSet, Role, Taint

PLAYBOOKS: Path = Settings.model_fields["playbooks_dir"].default
DISCOVERY = kubeadm.Discovery("demo.default.caravan.test:6443", "abcdef.0123456789abcdef", "sha256:00")


def node_set(**more: Any) -> NodeSet:
    return NodeSet(name="workers", role=Role.WORKER, count=1, machine_type="medium", **more)


def test_join_configuration_says_where_to_join_and_what_to_trust() -> None:
    config = yaml.safe_load(kubeadm.join_configuration(PLAYBOOKS, node_set(), DISCOVERY))
    assert config == {
        "apiVersion": "kubeadm.k8s.io/v1beta4",
        "kind": "JoinConfiguration",
        "discovery": {
            "bootstrapToken": {
                "apiServerEndpoint": "demo.default.caravan.test:6443",
                "token": "abcdef.0123456789abcdef",
                "caCertHashes": ["sha256:00"],
            }
        },
        "timeouts": {"discovery": "30m0s"},
        "nodeRegistration": {"criSocket": "unix:///run/containerd/containerd.sock", "imagePullSerial": False},
    }


def test_join_configuration_of_a_pushed_node_names_it() -> None:
    text = kubeadm.join_configuration(PLAYBOOKS, node_set(), DISCOVERY, node="demo-1", address="10.0.0.4")
    told = yaml.safe_load(text)
    assert told["nodeRegistration"]["name"] == "demo-1"
    assert told["timeouts"] == {"discovery": "5m0s", "etcdAPICall": "10m0s"}
    assert told["controlPlane"] == {"localAPIEndpoint": {"advertiseAddress": "10.0.0.4", "bindPort": 6443}}


def test_join_configuration_registers_labels_and_taints() -> None:
    taint = Taint(key="gpu", value="yes", effect="NoSchedule")
    wanted = node_set(labels={"team": "blue", "tier": "1"}, taints=(taint,))
    registration = yaml.safe_load(kubeadm.join_configuration(PLAYBOOKS, wanted, DISCOVERY))["nodeRegistration"]
    assert registration["kubeletExtraArgs"] == [{"name": "node-labels", "value": "team=blue,tier=1"}]
    assert registration["taints"] == [{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]


@settings(max_examples=100)
@given(text=st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"]), min_size=1))
def test_user_text_stays_one_yaml_string(text: str) -> None:
    rendered = kubeadm.join_configuration(PLAYBOOKS, node_set(labels={"team": text}), DISCOVERY)
    (argument,) = yaml.safe_load(rendered)["nodeRegistration"]["kubeletExtraArgs"]
    assert argument["value"] == f"team={text}"


KEY = "ssh-ed25519 AAAAC3Nz caravan"
JOINS = kubeadm.Join("kind: JoinConfiguration\n", "print('wait')", ("[fd00::1]:6443", "abcdef", "1"))
STATE = kubeadm.NodeState("print('program')", '{"sysctls": {}}')


def user_data(**given: Any) -> dict[str, Any]:
    told = {"join": JOINS, "node": None, "authorized_key": "", "version": "1.34.2", **given}
    text = kubeadm.user_data(**told)
    assert text.startswith("#cloud-config\n")
    return dict(yaml.safe_load(text))


def test_user_data_writes_the_configuration_and_joins_with_it() -> None:
    document = user_data()
    program, configuration = document["write_files"]
    assert (configuration["permissions"], configuration["content"]) == ("0600", JOINS.configuration)
    assert unpacked(program) == (kubeadm.CLUSTER_INFO, JOINS.program)
    ((shell, _, script),) = document["runcmd"]
    assert shell == "sh"
    assert f"kubeadm join --config {configuration['path']} " in script
    assert document.keys() == {"write_files", "runcmd"}


def test_user_data_brings_the_nodes_state() -> None:
    *state, _, _ = user_data(node=STATE)["write_files"]
    brought = {kubeadm.NODE_STATE: STATE.program, kubeadm.NODE_DOCUMENT: STATE.document}
    assert dict(map(unpacked, state)) == brought
    assert {(file["permissions"], file["encoding"]) for file in state} == {("0600", "gz+b64")}


def unpacked(file: dict[str, str]) -> tuple[str, str]:
    return file["path"], gzip.decompress(base64.b64decode(file["content"])).decode()


PREPARES = f"python3 {kubeadm.NODE_STATE} {kubeadm.NODE_DOCUMENT}"
WAITS = f"python3 {kubeadm.CLUSTER_INFO} [fd00::1]:6443 abcdef 1"
TRIES_TO_JOIN = f"kubeadm join --config {kubeadm.JOIN_CONFIG}"


def commands_of_a_machine(folder: Path, fails: str) -> list[str]:
    """What a booting machine runs, in order; the command that begins like `fails` fails twice."""
    log = folder / "log"
    for name in ("kubeadm", "python3", "sleep"):
        command = f'echo "{name} $*" >> {log}; case "{name} $*" in "{fails}"*) '
        (folder / name).write_text(f"#!/bin/sh\n{command} test $(grep -c '^{fails}' {log}) -gt 2;; esac\n")
        (folder / name).chmod(0o755)
    path = f"{folder}:{os.environ['PATH']}"
    subprocess.run(user_data(node=STATE)["runcmd"][0], env={"PATH": path}, cwd=folder, check=True, timeout=20)
    return [line for line in log.read_text().splitlines() if not line.startswith("sleep")]


@pytest.mark.parametrize(
    ("fails", "expected"),
    [
        ("nothing", [PREPARES, WAITS, TRIES_TO_JOIN]),
        (PREPARES, [PREPARES, PREPARES, PREPARES, WAITS, TRIES_TO_JOIN]),
        ("kubeadm", 3 * [PREPARES, WAITS, TRIES_TO_JOIN]),
        (f"python3 {kubeadm.CLUSTER_INFO}", [PREPARES, WAITS, TRIES_TO_JOIN]),
    ],
    ids=["all is well", "the mirror is away", "not let in", "cannot wait"],
)
def test_machine_tries_until_the_cluster_lets_it_in(tmp_path: Path, fails: str, expected: list[str]) -> None:
    assert commands_of_a_machine(tmp_path, fails) == expected


@pytest.mark.parametrize(("machines", "every_s"), [(0, 1), (2, 1), (200, 1), (999, 4.995), (5000, 25)])
def test_more_machines_look_less_often(machines: int, every_s: float) -> None:
    assert kubeadm.look_every_s(machines) == every_s


def test_machine_waits_with_its_tokens_public_half() -> None:
    told = kubeadm.join(PLAYBOOKS, node_set(), DISCOVERY, machines=500)
    assert told.arguments == ("demo.default.caravan.test:6443", "abcdef", "2.5")


@pytest.mark.parametrize("node", [None, STATE], ids=["image has all", "state is brought"])
def test_sandbox_finds_what_a_machine_joins_with(node: kubeadm.NodeState | None) -> None:
    text = kubeadm.user_data(join=JOINS, node=node, authorized_key=KEY, version="1.34.2")
    assert join_config(text) == JOINS.configuration
    assert join_config(kubeadm.user_data(join=None, node=None, authorized_key=KEY, version="1.34.2")) is None


def test_user_data_lets_the_playbooks_in() -> None:
    expected = {"disable_root": False, "ssh_authorized_keys": [KEY]}
    assert user_data(join=None, authorized_key=KEY) == expected
    assert expected.items() <= user_data(authorized_key=KEY, node=STATE).items()


def worker_artifacts(files: int) -> dict[str, Any]:
    entry = {"name": "kubelet", "url": "https://mirror.example.org/a/long/path" * 2, "sha256": "0" * 64}
    worker = {
        "pause": "registry.k8s.io/pause:3.10.1",
        "binaries": [{**entry, "path": f"/usr/local/bin/{n}"} for n in range(files)],
        "archives": [{**entry, "into": "/usr/local", "creates": "/usr/local/bin/containerd"}],
        "images": [entry] * files,
        "charts": [],
    }
    return {"worker": worker}


def worker_state(**given: Any) -> kubeadm.NodeState:
    told = {"resolvers": (), "zone": "caravan.test", "pod_cidr": "10.244.0.0/16", "artifacts": worker_artifacts(1)}
    return kubeadm.node_state(PLAYBOOKS, kubeadm.node_document(PLAYBOOKS, role=Role.WORKER, **{**told, **given}))


def test_user_data_stays_far_below_the_limit() -> None:
    state = worker_state(artifacts=worker_artifacts(12), resolvers=("10.0.0.2:53",))
    wanted = node_set(labels={f"label-{number}": "x" * 50 for number in range(30)})
    joins = kubeadm.join(PLAYBOOKS, wanted, DISCOVERY, machines=5)
    text = kubeadm.user_data(join=joins, node=state, authorized_key=KEY, version="1.34.2")
    assert len(base64.b64encode(text.encode())) < kubeadm.USER_DATA_LIMIT / 2
    assert text == kubeadm.user_data(join=joins, node=state, authorized_key=KEY, version="1.34.2")


def test_programs_need_nothing_but_old_python() -> None:
    joins = kubeadm.join(PLAYBOOKS, node_set(), DISCOVERY, machines=5)
    for program in (worker_state().program, joins.program):
        nodes = list(ast.walk(ast.parse(program, feature_version=(3, 9))))
        imported = {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
        imported |= {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        assert {name.partition(".")[0] for name in imported} <= sys.stdlib_module_names


def test_node_state_is_what_the_program_takes() -> None:
    state = worker_state()
    document = json.loads(state.document)
    files = {file["path"]: file for file in document["files"]}
    assert 'sandbox_image = "registry.k8s.io/pause:3.10.1"' in files["/etc/containerd/config.toml"]["content"]
    assert document["artifacts"][0]["path"] == "/usr/local/bin/0"
    assert [image["name"] for image in document["images"]] == ["kubelet"]
    assert "def apply(" in state.program


def test_nodes_ask_the_resolvers_of_the_endpoints_zone() -> None:
    def files(*resolvers: str) -> dict[str, str]:
        document = json.loads(worker_state(resolvers=resolvers).document)
        return {file["path"]: file["content"] for file in document["files"]}

    told = files("10.0.0.2:53", "10.0.0.3:5353")["/etc/systemd/resolved.conf.d/caravan.conf"]
    assert "DNS=10.0.0.2:53 10.0.0.3:5353\nDomains=~caravan.test\n" in told
    assert not [path for path in files() if "resolv" in path]


def test_nodes_forward_ipv6_where_pods_use_it() -> None:
    def sysctls(pod_cidr: str) -> set[str]:
        return set(json.loads(worker_state(pod_cidr=pod_cidr).document)["sysctls"])

    assert sysctls("fd00::/48") - sysctls("10.244.0.0/16") == {"net.ipv6.conf.all.forwarding"}


def test_tokens_have_kubeadms_form_and_differ() -> None:
    minted = {tokens.mint() for _ in range(100)}
    assert len(minted) == 100
    assert all(re.fullmatch(r"[a-z0-9]{6}\.[a-z0-9]{16}", token) for token in minted)


def test_token_is_told_to_kubeadm_and_to_a_running_cluster_alike() -> None:
    until = datetime(2026, 1, 2, tzinfo=UTC)
    entry = tokens.init_entry("abcdef.0123456789abcdef", until, datetime(2026, 1, 1, 12, tzinfo=UTC))
    assert entry["ttl"] == "43200s"
    secret = tokens.secret("abcdef.0123456789abcdef", until)
    assert secret["metadata"] == {"name": "bootstrap-token-abcdef", "namespace": "kube-system"}
    assert secret["type"] == "bootstrap.kubernetes.io/token"
    assert secret["data"]["expiration"] == "MjAyNi0wMS0wMlQwMDowMDowMFo="


def test_offered_versions_are_newest_first(tmp_path: Path) -> None:
    (tmp_path / "versions.yml").write_text("versions: [1.33.6, 1.34.2, 1.34.10]")
    assert versions.read(tmp_path) == ("1.34.10", "1.34.2", "1.33.6")
    assert versions.read(PLAYBOOKS)[0] == "1.34.2"


def test_offered_version_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "versions.yml").write_text("versions: [latest]")
    with pytest.raises(ValueError, match="latest"):
        versions.read(tmp_path)
