"""Where a machine stands on its way into a cluster, what kubeadm is told then, and what is said of its failure."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

UTILS = Path(__file__).parents[3] / "playbooks/plugins/module_utils"
CA, OTHER = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", "another"


def load(name: str) -> ModuleType:
    """A module that Ansible carries to a machine; it is in no package here."""
    spec = importlib.util.spec_from_file_location(name, UTILS / f"{name}.py")
    assert spec
    assert spec.loader
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


kubeadm = load("caravan_kubeadm")
Stands = kubeadm.Stands
BEGUN = kubeadm.note_text(CA, "join", kubeadm.BEGUN)
DONE = kubeadm.note_text(CA, "join", kubeadm.DONE)


@pytest.mark.parametrize(
    ("ca_here", "note", "has_kubeconfig", "expected"),
    [
        (None, None, False, Stands.OUTSIDE),
        (CA, BEGUN, False, Stands.HALFWAY),
        (None, BEGUN, False, Stands.HALFWAY),
        (CA, BEGUN, True, Stands.HALFWAY),
        (CA, DONE, True, Stands.INSIDE),
        (CA.replace("\n", "\r\n"), None, True, Stands.INSIDE),
    ],
    ids=["bare", "killed", "killed before its files", "killed late", "joined", "joined by itself"],
)
def test_machine_stands_where_note_and_files_say(
    ca_here: str | None, note: str | None, has_kubeconfig: bool, expected: object
) -> None:
    assert kubeadm.stands(CA, ca_here, note, has_kubeconfig=has_kubeconfig) is expected


def test_machine_that_was_reset_by_hand_is_taken_up_again() -> None:
    assert kubeadm.stands(CA, None, DONE, has_kubeconfig=False) is Stands.HALFWAY


@pytest.mark.parametrize(("ca_here", "note"), [(OTHER, None), (None, kubeadm.note_text(OTHER, "init", kubeadm.DONE))])
def test_machine_of_another_cluster_is_refused(ca_here: str | None, note: str | None) -> None:
    with pytest.raises(kubeadm.Refused, match="belongs to another cluster"):
        kubeadm.stands(CA, ca_here, note, has_kubeconfig=False)


def test_bare_machine_passes_all_of_kubeadms_checks() -> None:
    command = kubeadm.arguments("join", Stands.OUTSIDE, "/run/c.yaml", 6443, has_kubeconfig=False)
    assert command == ["kubeadm", "join", "--config", "/run/c.yaml"]


def test_what_a_killed_try_left_is_no_objection() -> None:
    command = kubeadm.arguments("init", Stands.HALFWAY, "/run/c.yaml", 7443, has_kubeconfig=True)
    ignored = command[command.index("--ignore-preflight-errors") + 1].split(",")
    assert {"Port-7443", "Port-2379", "DirAvailable--var-lib-etcd"} <= set(ignored)
    assert "all" not in ignored
    assert "kubelet-start" not in command


def test_node_that_is_ready_already_is_not_started_as_a_new_one() -> None:
    command = kubeadm.arguments("join", Stands.HALFWAY, "/run/c.yaml", 6443, has_kubeconfig=True)
    assert command[-2:] == ["--skip-phases", "kubelet-start"]


def test_failed_checks_are_the_reason() -> None:
    said = """[preflight] Running pre-flight checks
\t[WARNING SystemVerification]: cgroups v1
error: error execution phase preflight: [preflight] Some fatal errors occurred:
\t[ERROR NumCPU]: the number of available CPUs 1 is less than the required 2
\t[ERROR Port-6443]: Port 6443 is in use
[preflight] If you know what you are doing, you can make a check non-fatal
To see the stack trace of this error execute with --v=5 or higher
"""
    assert kubeadm.reason(said) == (
        "[ERROR NumCPU]: the number of available CPUs 1 is less than the required 2 "
        "[ERROR Port-6443]: Port 6443 is in use"
    )


def test_error_that_ended_kubeadm_is_the_reason() -> None:
    said = (
        "[certs] Generating\nerror: error execution phase kubelet-start: a Node exists\nTo see the stack trace of it\n"
    )
    assert kubeadm.reason(said) == "error execution phase kubelet-start: a Node exists"


def test_silent_end_is_told_as_such() -> None:
    assert kubeadm.reason("") == "it ended without a word"
