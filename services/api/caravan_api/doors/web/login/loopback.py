"""Whether somebody sits at this very machine: the sandbox lets them in without asking who they are. Pure."""

from collections.abc import Mapping
from urllib.parse import urlsplit

from caravan_shared.contracts.oidc import is_loopback

_FORWARDED = frozenset({"forwarded", "x-forwarded-for", "x-forwarded-host", "via"})


def is_at_this_machine(peer: str | None, headers: Mapping[str, str]) -> bool:
    """True for a browser on this machine that was sent here by this machine's own address.

    Another name in `Host` would be that of a site which has its name point at loopback, so that a browser takes us
    for it (DNS rebinding); a proxy on this machine speaks for others.
    """
    asked = urlsplit(f"//{headers.get('host', '')}").hostname
    if peer is None or asked is None or _FORWARDED.intersection(headers):
        return False
    return is_loopback(peer) and is_loopback(asked)
