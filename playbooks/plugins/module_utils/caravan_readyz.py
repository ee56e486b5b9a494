"""Ask whether a kube-apiserver is ready, as anybody may, trusting the authority of this machine's cluster."""

from __future__ import annotations

import ssl
import urllib.error
import urllib.request
from pathlib import Path

from ansible.module_utils.caravan_certificates import PKI

TRUSTED = Path(PKI, "ca.crt")
ANSWERS_WITHIN_S = 5


def readyz(address: str, port: int) -> str:
    """The URL of the question."""
    return f"https://{f'[{address}]' if ':' in address else address}:{port}/readyz"


def unready(address: str, port: int) -> str | None:
    """Why the kube-apiserver at this address isn't ready; None if it is."""
    trusted = ssl.create_default_context(cafile=str(TRUSTED))
    try:
        with urllib.request.urlopen(readyz(address, port), timeout=ANSWERS_WITHIN_S, context=trusted):  # noqa: S310
            return None
    except (OSError, urllib.error.URLError) as error:
        return str(error)
