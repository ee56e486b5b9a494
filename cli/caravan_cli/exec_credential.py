"""The protocol between kubectl and a program that gives it credentials. Pure.

https://kubernetes.io/docs/reference/config-api/client-authentication.v1/
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime

from caravan_cli.errors import UsageProblem

VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")
"""Those with certificates in the form below, the newest first."""
INFO = "KUBERNETES_EXEC_INFO"


def asked_version(env: Mapping[str, str]) -> str:
    """The apiVersion that the caller wants to be answered in; the newest where nobody says, as on a terminal."""
    text = env.get(INFO)
    if not text:
        return VERSIONS[0]
    try:
        version = json.loads(text)["apiVersion"]
    except (ValueError, TypeError, KeyError) as error:
        raise UsageProblem(
            f"{INFO} is no ExecCredential; it is set by kubectl, and need not be set by hand."
        ) from error
    if version not in VERSIONS:
        raise UsageProblem(f"kubectl asks for {version!r}, and caravan answers in {' or '.join(VERSIONS)} only.")
    return str(version)


def document(version: str, *, certificate: str, key: str, expires_at: datetime) -> str:
    """The ExecCredential, JSON: PEM texts, and until when they are to be used."""
    status = {
        "expirationTimestamp": f"{expires_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "clientCertificateData": certificate,
        "clientKeyData": key,
    }
    return json.dumps({"apiVersion": version, "kind": "ExecCredential", "status": status})
