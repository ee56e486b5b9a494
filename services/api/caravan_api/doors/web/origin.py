"""Whether a request to change something comes from our own pages (CSRF).

Browsers say where a request comes from, and no page can have them say otherwise: `Sec-Fetch-Site` (W3C Fetch Metadata),
or, where they leave that out because the connection is not private, `Origin` (RFC 6454). Together with cookies that are
not sent along by other sites (`SameSite`) that needs no token in forms, which pages could lose or leak.
"""

from collections.abc import Mapping
from urllib.parse import urlsplit

from fastapi import Request

from caravan_api.errors import Forbidden

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
"""They change nothing (RFC 9110, section 9.2.1), here too."""


async def from_own_pages(request: Request) -> None:
    """The dependency of every route: see `check_origin`."""
    check_origin(request.method, request.headers)


def check_origin(method: str, headers: Mapping[str, str]) -> None:
    """Raise `Forbidden` for a change that another site's page, or none that we know of, asks for."""
    if method in SAFE_METHODS:
        return
    site = headers.get("sec-fetch-site")
    if site == "same-origin":
        return
    if site is None and _is_own(headers.get("origin"), headers.get("host")):
        return
    raise Forbidden("this was not sent from a page of Caravan's own: open the page here, and do it there")


def _is_own(origin: str | None, host: str | None) -> bool:
    return bool(origin and host) and urlsplit(origin).netloc == host
