"""Who asks: a client certificate of the cluster's CA, a bootstrap token, or nobody. Pure.

Source: https://kubernetes.io/docs/reference/access-authn-authz/authentication/
"""

import ssl
from collections.abc import Callable, Mapping
from typing import Any

from caravan_sandbox.kube.authorization import ANONYMOUS, User
from caravan_sandbox.kube.statuses import Unauthorized

AUTHENTICATED = "system:authenticated"


def authenticate(
    peer_certificate: Mapping[str, Any] | None,
    authorization: str | None,
    token_user: Callable[[str], User | None],
    now: float,
) -> User:
    """The user of a request; `peer_certificate` is as `SSLSocket.getpeercert()` has it. Raises Unauthorized."""
    if peer_certificate:
        return _certificate_user(peer_certificate, now)
    if not authorization:
        return ANONYMOUS
    scheme, _, token = authorization.partition(" ")
    user = token_user(token.strip()) if scheme.lower() == "bearer" else None
    if user is None:
        raise Unauthorized("Unauthorized")
    return user


def _certificate_user(certificate: Mapping[str, Any], now: float) -> User:
    # TLS has checked the dates at the handshake; a kept connection may outlive them.
    if ssl.cert_time_to_seconds(certificate["notAfter"]) <= now:
        raise Unauthorized("Unauthorized")
    subject = [attribute for name in certificate["subject"] for attribute in name]
    names = [value for key, value in subject if key == "commonName"]
    groups = [value for key, value in subject if key == "organizationName"]
    return User(names[-1] if names else "", (*groups, AUTHENTICATED))
