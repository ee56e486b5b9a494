"""Stop, start and renew the control plane's static pods on this machine, through the kubelet that runs them."""

from __future__ import annotations

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Callable

from ansible.module_utils.caravan_commands import CommandFailed, run
from ansible.module_utils.caravan_kubectl import Kubectl

STATIC_PODS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-vip")
MANIFESTS, ASIDE = Path("/etc/kubernetes/manifests"), Path("/etc/kubernetes/caravan-stopped")
ASKED_WITHIN_S = 60  # the container runtime of a machine that is starting everything at once
ENDS_WITHIN_S = 120  # a kube-apiserver finishes its open requests first
ANSWERS_WITHIN_S = 300  # the kubelet's back-off between two starts of a container is at most that
GRACE_S = 30  # a static pod's own grace period
LOOK_EVERY_S = 1


class TooSlow(Exception):
    """It did not come about in time; the text says what."""


def running() -> dict[str, tuple[str, float]]:
    """The static pods' containers that run: name → id and when it was made, in seconds since the epoch."""
    listed = json.loads(run(["crictl", "ps", "--state", "Running", "--output", "json"], ASKED_WITHIN_S))
    return {
        found["metadata"]["name"]: (found["id"], int(found["createdAt"]) / 1e9)
        for found in listed.get("containers") or ()
        if found["metadata"]["name"] in STATIC_PODS
    }


def there(folder: Path) -> list[str]:
    """The static pods whose manifests are in the folder."""
    return [pod for pod in STATIC_PODS if (folder / f"{pod}.yaml").exists()]


def stop_all() -> None:
    """Take the manifests aside and wait until none of the pods runs."""
    ASIDE.mkdir(mode=0o700, exist_ok=True)
    _move(MANIFESTS, ASIDE)
    wait_until(lambda: not running(), ENDS_WITHIN_S, "the control plane's static pods did not end")


def start_all() -> None:
    """Put the manifests back and wait until the kube-apiserver answers."""
    _move(ASIDE, MANIFESTS)
    wait_until(apiserver_answers, ANSWERS_WITHIN_S, "the kube-apiserver does not answer")


def restart(pods: list[str]) -> None:
    """End the pods' containers, all at once, and wait until the kubelet has started others and there are answers."""
    old = {pod: found[0] for pod, found in running().items() if pod in pods}
    with ThreadPoolExecutor() as threads:
        list(threads.map(end, old.values()))
    wait_until(lambda: _are_others(old), ANSWERS_WITHIN_S, f"{', '.join(pods)} did not start again")
    wait_until(
        apiserver_answers, ANSWERS_WITHIN_S, f"the kube-apiserver does not answer after a restart of {', '.join(pods)}"
    )


def end(container: str, grace_s: int = GRACE_S) -> None:
    """End a container; the kubelet starts another for its pod."""
    run(["crictl", "stop", "--timeout", str(grace_s), container], grace_s + ASKED_WITHIN_S)


def apiserver_answers() -> bool:
    """Whether this machine's kube-apiserver is ready."""
    return Kubectl().is_ready()


def wait_until(holds: Callable[[], bool], within_s: float, otherwise: str) -> None:
    """Look every second; TooSlow with the last complaint when it does not hold in time."""
    deadline, why = time.monotonic() + within_s, ""
    while True:
        try:
            if holds():
                return
        except CommandFailed as error:
            why = f" ({error})"
        if time.monotonic() > deadline:
            raise TooSlow(f"{otherwise} within {within_s:.0f} s{why}")
        time.sleep(LOOK_EVERY_S)


def _are_others(old: dict[str, str]) -> bool:
    now = running()
    return all(pod in now and now[pod][0] != container for pod, container in old.items())


def _move(source: Path, target: Path) -> None:
    for pod in there(source):
        os.replace(source / f"{pod}.yaml", target / f"{pod}.yaml")
