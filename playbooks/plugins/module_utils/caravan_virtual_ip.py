"""The cluster's virtual IP on this control plane: kube-vip's static pod, and the address on an interface.

kube-vip takes the address off when it is asked to end, and lets go of its lease, so that another control plane has it a
moment later. A kube-vip that is killed does neither, and then nobody but us would take the address off a machine that
has left: it would go on answering for it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass

from ansible.module_utils import caravan_static_pods as static_pods
from ansible.module_utils.caravan_commands import CommandFailed, run
from ansible.module_utils.caravan_readyz import unready
from ansible.module_utils.node_state import Host, apply

POD = "kube-vip"
MANIFEST = static_pods.MANIFESTS / f"{POD}.yaml"
ASKED_WITHIN_S = 20
STARTS_WITHIN_S = 120  # the kubelet sees another manifest within 20 s; the old pod has 30 s to end
TAKEN_OVER_WITHIN_S = 60  # a lease that could not be let go of runs out after 15 s
NOTICED_WITHIN_S = (
    35  # who only listens asks after 30 s of silence whether anybody is there (client-go, golang's HTTP/2)
)
LOOK_EVERY_S = 0.5


@dataclass(frozen=True)
class VirtualIp:
    """The address, the kube-apiservers' port behind it, and the node's own address, whose interface carries it."""

    address: str
    port: int
    node_address: str

    def present(self, manifest: str, *, check: bool) -> list[str]:
        """Have kube-vip run as the manifest says, and the address answered, by whomever; what was changed."""
        before = "" if check else _container()
        changes = self._place(manifest, check=check)
        if not check:
            if changes:
                what = f"{POD} did not start"
                static_pods.wait_until(lambda: _container() not in ("", before), STARTS_WITHIN_S, what)
            self._wait_until_answered(STARTS_WITHIN_S)
        return changes

    def elsewhere(self, *, check: bool) -> list[str]:
        """Have nothing of it here, another control plane answer, and everybody know; what was changed.

        Connections that were open to the address are to nobody now, and none is told. Whoever waits for news on one,
        such as kube-proxy, must have noticed before pods are taken off this node.
        """
        if not is_here(self.address):
            return []
        if check:
            return [f"virtual IP {self.address}"]
        manifest = MANIFEST.read_text() if MANIFEST.exists() else ""
        carried = bool(_interfaces_with(self.address))
        changes = list(removal(self.address))
        try:
            self._wait_until_answered(TAKEN_OVER_WITHIN_S)
        except static_pods.TooSlow:
            if manifest:  # better a control plane that is to leave than none
                self._place(manifest, check=False)
            raise
        if carried:
            time.sleep(NOTICED_WITHIN_S)
        return changes

    def _place(self, manifest: str, *, check: bool) -> list[str]:
        file = {"path": str(MANIFEST), "mode": "0600", "content": manifest, "facts": ["interface"]}
        return apply({"files": [file]}, Host(address=self.node_address), check=check)

    def _wait_until_answered(self, within_s: float) -> None:
        until = time.monotonic() + within_s
        while (problem := unready(self.address, self.port)) is not None:
            if time.monotonic() > until:
                what = f"nobody answers at the virtual IP {self.address} within {within_s:.0f} s: {problem}"
                raise static_pods.TooSlow(what)
            time.sleep(LOOK_EVERY_S)


def is_here(address: str) -> bool:
    """Whether anything of it is on this machine."""
    return MANIFEST.exists() or bool(_interfaces_with(address))


def remove(address: str) -> None:
    """Have neither kube-vip nor the address on this machine."""
    for _ in removal(address):
        pass


def removal(address: str) -> Iterator[str]:
    """The same step by step, each named once it is done."""
    if MANIFEST.exists():
        MANIFEST.unlink()
        yield f"file {MANIFEST}"
    if running := _container():
        try:
            static_pods.end(running)
        except CommandFailed:
            if _container():  # else the kubelet, which saw its manifest go, was faster
                raise
        static_pods.wait_until(lambda: not _container(), static_pods.ENDS_WITHIN_S, f"{POD} did not end")
        yield f"pod {POD}"
    for interface in _interfaces_with(address):
        length = 128 if ":" in address else 32
        run(["ip", "address", "delete", f"{address}/{length}", "dev", interface], ASKED_WITHIN_S)
        yield f"address {address} on {interface}"


def _interfaces_with(address: str) -> list[str]:
    found = json.loads(run(["ip", "-json", "address", "show", "to", address], ASKED_WITHIN_S) or "[]")
    return [link["ifname"] for link in found if "ifname" in link]


def _container() -> str:
    """Id of kube-vip's container that runs; "" where none does."""
    return static_pods.running().get(POD, ("", 0.0))[0]
