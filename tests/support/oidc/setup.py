"""What a provider is started with; it travels to its process as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

CODE_CLIENT = "caravan"
OTHER_CLIENT = "somebody-else"
DEVICE_CLIENT = "caravan-device"  # the provider allows a client one grant alone
_DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"


@dataclass(frozen=True)
class Setup:
    """A provider. Each user's password is the user's name."""

    issuer: str
    host: str
    """The address of this machine that it listens on."""
    port: int
    store: str
    keys: Sequence[str]
    """RSA keys as PEM: all are published, the first one signs."""
    claims: Mapping[str, Mapping[str, Any]]
    """By user, what an ID token says beside the standard's own claims."""
    tokens_last_s: int = 600
    certificate: str | None = None
    """A PEM file of certificate and key; without one the provider speaks plain HTTP."""
    clients: Mapping[str, str] = field(
        default_factory=lambda: {
            CODE_CLIENT: "authorization-code",
            OTHER_CLIENT: "authorization-code",
            DEVICE_CLIENT: _DEVICE_GRANT,
        }
    )
