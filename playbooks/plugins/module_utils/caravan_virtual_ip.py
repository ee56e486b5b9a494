"""The cluster's virtual IP on this control plane: kube-vip's static pod, and the address on an interface.

kube-vip takes the address off when it is asked to end, and lets go of its lease, so that another control plane has it a
moment later. A kube-vip that is killed does neither, and then nobody but us would take the address off a machine that
has left: it would go on answering for it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

from ansible.module_utils import caravan_static_pods as static_pods
from ansible.module_utils.caravan_commands import CommandFailed, run
from ansible.module_utils.caravan_readyz import unready

POD = "kube-vip"
MANIFEST = static_pods.MANIFESTS / f"{POD}.yaml"
ASKED_WITHIN_S = 20
STARTS_WITHIN_S = 120  # the kubelet sees another manifest within 20 s; the old pod has 30 s to end
TAKEN_OVER_WITHIN_S = 60  # a lease that could not be let go of runs out after 15 s
LOOK_EVERY_S = 0.5


def interfaces_with(address: str) -> list[str]:
    """The interfaces that have the address, of which there is one at most."""
    found = json.loads(run(["ip", "-json", "address", "show", "to", address], ASKED_WITHIN_S) or "[]")
    return [link["ifname"] for link in found if "ifname" in link]


def is_here(address: str) -> bool:
    """Whether anything of it is on this machine."""
    return MANIFEST.exists() or bool(interfaces_with(address))


def container() -> str:
    """Id of kube-vip's container that runs; "" where none does."""
    return static_pods.running().get(POD, ("", 0.0))[0]


def wait_for_another(old: str) -> None:
    """Wait until kube-vip runs in another container than this one."""
    what = f"{POD} did not start"
    static_pods.wait_until(lambda: container() not in ("", old), STARTS_WITHIN_S, what)


def wait_until_answered(address: str, port: int, within_s: float) -> None:
    """Wait until a ready kube-apiserver answers at the virtual IP. TooSlow with why it does not."""
    until = time.monotonic() + within_s
    while (problem := unready(address, port)) is not None:
        if time.monotonic() > until:
            raise static_pods.TooSlow(f"nobody answers at the virtual IP {address} within {within_s:.0f} s: {problem}")
        time.sleep(LOOK_EVERY_S)


def remove(address: str) -> None:
    """Have neither kube-vip nor the address on this machine."""
    for _ in removal(address):
        pass


def removal(address: str) -> Iterator[str]:
    """The same step by step, each named once it is done."""
    if MANIFEST.exists():
        MANIFEST.unlink()
        yield f"file {MANIFEST}"
    if running := container():
        try:
            static_pods.end(running)
        except CommandFailed:
            if container():  # else the kubelet, which saw its manifest go, was faster
                raise
        static_pods.wait_until(lambda: not container(), static_pods.ENDS_WITHIN_S, f"{POD} did not end")
        yield f"pod {POD}"
    for interface in interfaces_with(address):
        length = 128 if ":" in address else 32
        run(["ip", "address", "delete", f"{address}/{length}", "dev", interface], ASKED_WITHIN_S)
        yield f"address {address} on {interface}"
