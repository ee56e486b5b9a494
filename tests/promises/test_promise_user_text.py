"""User text is data: it comes out of Ansible, templates and user-data as it went in, and is never carried out."""

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from caravan_bootstrapper import kubeadm
from caravan_bootstrapper.inventory import Work, build, to_yaml
from caravan_bootstrapper.views import NodeView, Play
from caravan_shared.contracts.spec import ClusterSpec, NodeSet, Role, Taint
from caravan_shared.contracts.states import MembershipState
from tests.promises.sizes import HOSTILE_TEXTS, TEXTS_IN_TEMPLATES
from tests.promises.trial import Trial
from tests.support.kubeadm import PLAYBOOKS, documents, rendered

A_RUN = 100
"""Texts in one run: as many groups as a cluster may name."""
LINE_BREAKERS = "\n\r\t\x00\x85\u2028\ufeff\\|>&*!?,"
NODE = NodeView(
    "cp-1", "control-plane", MembershipState.WAITING, Role.CONTROL_PLANE, machine_id="m", address="10.0.0.1"
)

PLAY = """
- hosts: all
  vars:
    control: "{{ lookup('ansible.builtin.pipe', 'touch ' ~ control_file) }}"
  tasks:
    - name: Ensure what was told is written down as a template has it
      ansible.builtin.template:
        src: told.j2
        dest: "{{ told_file }}"
        mode: "0600"
"""
TEMPLATE = "{{ {'groups': caravan_oidc.admin_groups, 'control': control} | to_json }}"

WAYS: list[Callable[[str], str]] = [
    lambda command: f"{{{{ lookup('ansible.builtin.pipe', '{command}') }}}}",
    lambda command: f"{{{{ lookup('pipe', \"{command}\") }}}}",
    lambda command: "{% if lookup('pipe', '" + command + "') %}x{% endif %}",
    lambda command: f"{{{{ cycler.__init__.__globals__.os.popen('{command}').read() }}}}",
    lambda command: f"{{{{ ''.__class__.__mro__[1].__subclasses__() }}}} {command}",
    lambda command: f"{{# {command} #}}",
    lambda command: f"$({command})",
    lambda command: f"`{command}`",
    lambda command: f"; {command} #",
    lambda command: f"' ; {command} ; '",
    lambda command: f'" && {command} && "',
    lambda command: f"| {command}",
    lambda command: f"!!python/object/apply:os.system ['{command}']",
    lambda command: f"!unsafe {{{{ lookup('pipe', '{command}') }}}}",
    lambda command: f"x: {{a: &b [*b]}} # {command}",
    lambda command: f"%{{ {command} }} ${{{command}}} <%= {command} %>",
]


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder whose name leaves room in a text of 250 characters."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@pytest.mark.promises(HOSTILE_TEXTS)
async def test_text_that_looks_like_a_template_or_a_command_comes_out_of_ansible_as_it_went_in(
    trial: Trial, tmp_path: Path, short_path: Path
) -> None:
    canary, control = short_path / "executed", short_path / "control"
    while trial.goes_on:
        texts = tuple(_hostile(trial, canary) for _ in range(A_RUN))
        assert await _through_ansible(tmp_path, texts, control) == list(texts)
        assert not canary.exists(), "something of it was carried out"
        assert control.exists(), "a text of ours that is a template was not carried out: the run proves nothing"
        control.unlink()
        trial.did(len(texts))


def _hostile(trial: Trial, canary: Path) -> str:
    before, after = ("".join(trial.dice.choices(" \"'{}%#:-[]ä", k=trial.dice.randint(0, 3))) for _ in range(2))
    return f"{before}{trial.dice.choice(WAYS)(f'touch {canary}')}{after}x"


@pytest.mark.promises(TEXTS_IN_TEMPLATES)
def test_text_in_a_template_or_in_user_data_is_one_value_and_changes_nothing_around_it(
    trial: Trial, short_path: Path
) -> None:
    """Of any characters at all, as if nothing were refused where it came in."""
    canary = short_path / "executed"
    while trial.goes_on:
        text, other = (_unlimited(trial, canary) for _ in range(2))
        _is_one_value_in_kubeadms_configuration(text, other)
        _is_one_value_among_the_groups(text, other)
        _is_one_value_in_user_data(text, other)
        trial.did()
    assert not canary.exists(), "something of it was carried out"


def _unlimited(trial: Trial, canary: Path) -> str:
    text = list(_hostile(trial, canary))
    for _ in range(trial.dice.randint(0, 3)):
        text.insert(trial.dice.randint(0, len(text)), trial.dice.choice(LINE_BREAKERS))
    return "".join(text)


def _is_one_value_in_kubeadms_configuration(text: str, other: str) -> None:
    oidc = {
        "issuer_url": text,
        "client_id": other,
        "username_claim": text,
        "username_prefix": other,
        "groups_claim": text,
        "groups_prefix": other,
    }
    told = {
        "kubeadm_labels": [[text, other]],
        "kubeadm_taints": [{"key": text, "value": other, "effect": "NoSchedule"}],
        "kubeadm_cluster": text,
        "kubeadm_dns_domain": other,
        "caravan_oidc": {**oidc, "ca_certificate": None},
    }
    plain = documents(rendered("templates/kubeadm.yaml.j2", kubeadm_mode="init", **{**told, "caravan_oidc": {}}))
    found = documents(rendered("templates/kubeadm.yaml.j2", kubeadm_mode="init", **told))
    registered, cluster = found["InitConfiguration"]["nodeRegistration"], found["ClusterConfiguration"]
    assert found.keys() == plain.keys()
    assert registered["kubeletExtraArgs"] == [{"name": "node-labels", "value": f"{text}={other}"}]
    assert registered["taints"] == told["kubeadm_taints"]
    assert (cluster["clusterName"], cluster["networking"]["dnsDomain"]) == (text, other)
    flags = {each["name"]: each["value"] for each in cluster["apiServer"]["extraArgs"]}
    assert flags == {f"oidc-{name.replace('_', '-')}": value for name, value in oidc.items()}


def _is_one_value_among_the_groups(text: str, other: str) -> None:
    oidc = {"groups_prefix": "oidc:", "viewer_groups": [text, other], "editor_groups": [], "admin_groups": [other]}
    bindings = list(yaml.safe_load_all(rendered("manifests/oidc.yaml.j2", caravan_oidc=oidc)))
    told = {each["roleRef"]["name"]: [subject["name"] for subject in each["subjects"]] for each in bindings if each}
    assert told == {"view": [f"oidc:{text}", f"oidc:{other}"], "cluster-admin": [f"oidc:{other}"]}


def _is_one_value_in_user_data(text: str, other: str) -> None:
    plain, hostile = (_user_data(labels, taint) for labels, taint in (({"a": "b"}, "c"), ({text: other}, text)))
    (given, asked), (same, _) = hostile, plain
    assert given == same, "it got out of the file that it is in"
    registered = documents(asked)["JoinConfiguration"]["nodeRegistration"]
    assert registered["kubeletExtraArgs"] == [{"name": "node-labels", "value": f"{text}={other}"}]
    assert registered["taints"] == [{"key": text, "value": text, "effect": "NoSchedule"}]


def _user_data(labels: dict[str, str], taint: str) -> tuple[dict[str, Any], str]:
    """What cloud-init reads, but for kubeadm's configuration; and that."""
    taints = (Taint.model_construct(key=taint, value=taint, effect="NoSchedule"),)
    node_set = NodeSet.model_construct(
        name="workers", role=Role.WORKER, count=1, machine_type="medium", labels=labels, taints=taints
    )
    discovery = kubeadm.Discovery("demo.default.caravan.test:6443", "abcdef.0123456789abcdef", f"sha256:{'0' * 64}")
    join = kubeadm.join(PLAYBOOKS, node_set, discovery, machines=1)
    text = kubeadm.user_data(join=join, node=None, authorized_key="", version="1.34.2")
    assert text.startswith("#cloud-config\n"), "cloud-init would make a template of it"
    document = yaml.safe_load(text)
    file = next(each for each in document["write_files"] if each["path"] == kubeadm.JOIN_CONFIG)
    return document, file.pop("content")


async def _through_ansible(folder: Path, texts: tuple[str, ...], control: Path) -> list[str]:
    """The texts as a task's template has them, told as groups of a cluster's OpenID Connect provider."""
    told = folder / "told.json"
    oidc = {"issuer_url": "https://login.example.org", "client_id": "k", "admin_groups": texts}
    spec = ClusterSpec.model_validate({"version": "1.34.2", "workers": [], "oidc": oidc})
    (folder / "hosts.yml").write_text(to_yaml(build(_work(spec, folder))))
    (folder / "play.yml").write_text(PLAY)
    (folder / "told.j2").write_text(TEMPLATE)
    given = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "told_file": str(told),
        "control_file": str(control),
    }
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("ansible-playbook")),
        *("--inventory", str(folder / "hosts.yml"), "--extra-vars", json.dumps(given), str(folder / "play.yml")),
        env=os.environ | {"ANSIBLE_CONFIG": str(PLAYBOOKS / "ansible.cfg"), "ANSIBLE_HOME": str(folder / "ansible")},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()
    groups: list[str] = json.loads(told.read_text())["groups"]
    return groups


def _work(spec: ClusterSpec, folder: Path) -> Work:
    """A first run on one control plane."""
    return Work(
        play=Play.SITE,
        cluster="demo",
        spec=spec,
        nodes=(NODE,),
        etcd=(),
        manager=None,
        endpoint="demo.default.caravan.test:6443",
        secrets_dir=folder,
        sandbox_url="http://127.0.0.1:8790",
        joins_in_flight=10,
    )
