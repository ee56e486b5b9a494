"""User text is data: what a user wrote comes out of a real Ansible run as it went in, and is never carried out."""

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from caravan_bootstrapper.inventory import Work, build, to_yaml
from caravan_bootstrapper.views import NodeView, Play
from caravan_shared.contracts.spec import ClusterSpec, Role
from caravan_shared.contracts.states import MembershipState
from tests.promises.sizes import HOSTILE_TEXTS
from tests.promises.trial import Trial

PLAYBOOKS = Path(__file__).parents[2] / "playbooks"
A_RUN = 100
"""Texts in one run: as many groups as a cluster may name."""
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
