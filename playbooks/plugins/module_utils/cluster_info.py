"""Wait until a cluster lets machines in: until its cluster-info is there, signed for the token that they join with.

One file of the standard library (Python 3.9 or newer), run from cloud-init's user-data before each `kubeadm join` on
machines that join by themselves: they mostly boot before their control plane does. kubeadm waits for the same, but asks
every 5 s, a constant of its own (DiscoveryRetryInterval), which is long in a small cluster's life.

Nothing that is read here is believed: kubeadm asks again and verifies the signature. And whatever is wrong, it is
kubeadm that says so: this ends after a while, and `kubeadm join` is next however it ends.

Source: https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens/#configmap-signing
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import random
import ssl
import time
import urllib.request
from collections.abc import Iterator, Sequence

ANSWERS_WITHIN_S = 5
WITHIN_S = 600  # a control plane's start; then kubeadm's own patience begins


def is_signed(cluster_info: bytes, token_id: str) -> bool:
    """Whether the ConfigMap (JSON) is signed for this token."""
    return f"jws-kubeconfig-{token_id}" in (json.loads(cluster_info).get("data") or {})


def refusal(endpoint: str, token_id: str) -> str | None:
    """Why the kube-apiserver at `host:port` lets nobody in yet who has this token; None if it does."""
    url = f"https://{endpoint}/api/v1/namespaces/kube-public/configmaps/cluster-info"
    unverified = ssl._create_unverified_context()  # noqa: S323  # see above
    try:
        with urllib.request.urlopen(url, timeout=ANSWERS_WITHIN_S, context=unverified) as answer:
            return None if is_signed(answer.read(), token_id) else "its cluster-info is not signed for our token"
    except (OSError, http.client.HTTPException, ValueError) as error:
        return str(error)


def pauses(every_s: float) -> Iterator[float]:
    """Seconds to pause after each look: at first a random part, so that machines which booted together look apart."""
    yield random.uniform(0, every_s)  # noqa: S311
    yield from itertools.repeat(every_s)


def main(arguments: Sequence[str] | None = None) -> None:
    """`cluster_info.py HOST:PORT TOKEN_ID EVERY_S`."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("endpoint", help="host:port of the kube-apiserver")
    parser.add_argument("token_id", help="the bootstrap token's first part, which is no secret")
    parser.add_argument("every_s", type=float, help="seconds between looks")
    given = parser.parse_args(arguments)
    until, pause_s, said = time.monotonic() + WITHIN_S, pauses(given.every_s), ""
    while (reason := refusal(given.endpoint, given.token_id)) and time.monotonic() < until:
        if reason != said:
            print(f"{given.endpoint} lets nobody in yet: {reason}", flush=True)
            said = reason
        time.sleep(next(pause_s))


if __name__ == "__main__":
    main()
