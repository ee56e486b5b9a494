"""One question to a BMC by Redfish (DMTF DSP0266): the only file that knows sushy, TLS and passwords. Blocking code.

Sushy sends anything again when a connection breaks, resets too; here each request goes out once, and whoever asks
decides what is repeated. Basic authentication: a session would stay on BMCs that know only a few.
"""

import hashlib
import logging
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from sushy import PowerState, ResetType, Sushy
from sushy import exceptions as redfish
from sushy.auth import BasicAuth
from sushy.connector import Connector
from sushy.resources.system.system import System
from urllib3.exceptions import NewConnectionError

from caravan_provisioner.clouds.bmc_faults import (
    BmcFault,
    NoSystem,
    NotLetIn,
    NotRedfish,
    ResetRefused,
    Unclear,
    Unreachable,
    Untrusted,
)

_CONNECT_S = 5.0  # a BMC is near; one that takes longer is rather off the network
_HTTPS = 443

logging.getLogger("sushy").setLevel(logging.CRITICAL)  # what it would say of a failure, the fault says


@dataclass(frozen=True, slots=True)
class BmcLogin:
    """Whose BMC it is, where, who logs in, and what is believed of its certificate."""

    machine: str
    url: str
    system: str | None
    user: str
    password: str = field(repr=False)
    fingerprint: str | None
    verify: bool | Path
    """Against the authorities of this host, or those in a file; False: not at all, unless there is a fingerprint."""

    @property
    def whose(self) -> str:
        """How sentences call it."""
        return f"the BMC of {self.machine} at {self.url}"


class BmcSystem:
    """One machine, as its BMC shows it. Methods raise `BmcFault`."""

    def __init__(self, login: BmcLogin, timeout_s: float) -> None:
        self._login = login
        self._wire = _Wire(login, timeout_s)
        with _told(login):
            auth = BasicAuth(login.user.encode(), login.password.encode())  # RFC 7617: else only Latin-1 goes through
            root = Sushy(login.url, auth=auth, connector=self._wire)
            self._system: System = root.get_system(login.system or _only_one(login, root))

    def look(self) -> None:
        """Ask anew."""
        with _told(self._login):
            self._system.refresh(force=True)

    @property
    def power(self) -> PowerState | None:
        """When it was last asked; None: it does not tell."""
        power: PowerState | None = self._system.power_state
        return power

    @property
    def allowed(self) -> frozenset[ResetType]:
        """The resets that it takes; all where it does not tell."""
        with _told(self._login):
            return frozenset(self._system.get_allowed_reset_system_values())

    def reset(self, how: ResetType) -> None:
        """Ask once. `ResetRefused`: surely nothing was done. `Unclear`: nobody knows."""
        whose = self._login.whose
        try:
            with _told(self._login):
                self._system.reset_system(how)
        except Unreachable as fault:
            if _was_never_sent(fault):
                raise
            says = f"{whose} was asked for {how.value} and did not say whether it does that ({_why(fault.__cause__)})"
            raise Unclear(says, "look at the machine's console") from fault
        except NotRedfish as fault:
            said = _why(fault.__cause__)
            raise ResetRefused(f"{whose} refuses {how.value}: {said}", "reset it at its console") from fault

    def close(self) -> None:
        """Let go of connections."""
        self._wire.close()


class _Wire(Connector):  # type: ignore[misc]  # sushy has no types
    """Sends each request once, and believes one certificate where that one is named."""

    def __init__(self, login: BmcLogin, timeout_s: float) -> None:
        verify = str(login.verify) if isinstance(login.verify, Path) else login.verify
        super().__init__(
            login.url,
            verify=False if login.fingerprint else verify,
            server_side_retries=1,
            default_request_timeout=timeout_s,
            connect_timeout=_CONNECT_S,
        )
        if login.fingerprint:
            self._session.mount("https://", _Pinned(login.fingerprint))


class _Pinned(HTTPAdapter):
    """Believes the certificate with that SHA-256, whoever signed it and whatever name it has."""

    def __init__(self, fingerprint: str) -> None:
        self._pin: dict[str, Any] = {"assert_fingerprint": fingerprint}
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Of direct connections."""
        super().init_poolmanager(*args, **{**options, **self._pin})

    def proxy_manager_for(self, proxy: Any, **options: Any) -> Any:
        """Of those through a proxy."""
        return super().proxy_manager_for(proxy, **{**options, **self._pin})


def shown_fingerprint(url: str) -> str | None:
    """SHA-256 of the certificate that a host shows, believed or not; None where it shows none."""
    at = urlsplit(url)
    with suppress(OSError, ValueError):
        pem = ssl.get_server_certificate((at.hostname or "", at.port or _HTTPS), timeout=_CONNECT_S)
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).digest().hex(":")
    return None


def _only_one(login: BmcLogin, root: Sushy) -> str:
    paths: tuple[str, ...] = root.get_system_collection().members_identities
    if len(paths) == 1:
        return paths[0]
    listed = ", ".join(path.rstrip("/").rpartition("/")[2] for path in paths)
    if not paths:
        raise NoSystem(f"{login.whose} has no system", "give the address of the BMC that the machine has")
    raise NoSystem(f"{login.whose} has several systems", f"name the machine's by --bmc-system: {listed}")


@contextmanager
def _told(login: BmcLogin) -> Iterator[None]:
    """Sushy's errors, and what it lets through of others', in our words."""
    whose, user, change = login.whose, login.user, f"`caravan machine change {login.machine}`"
    try:
        yield
    except redfish.ConnectionError as error:
        cause = error.__context__  # what requests said of it
        if isinstance(cause, requests.exceptions.SSLError):
            raise _untrusted(login) from cause
        raise Unreachable(
            f"{whose} does not answer ({_why(cause or error)})", "see to its network, and to its address"
        ) from cause
    except redfish.AccessError as error:
        if error.status_code == requests.codes.forbidden:
            mend = "give that user the right to reset the system (the role Operator), or name another"
            raise NotLetIn(f"{whose} lets {user} in, but not do that", mend) from error
        mend = f"{change} with --bmc-user and --bmc-password; many BMCs lock a user out after some wrong tries"
        raise NotLetIn(f"{whose} refuses the user {user} or the password", mend) from error
    except redfish.ResourceNotFoundError as error:
        mend = f"correct it: {change} with --bmc or --bmc-system"
        raise NoSystem(f"{whose} has no {login.system or 'Redfish service'}", mend) from error
    except redfish.ServerSideError as error:
        raise Unreachable(f"{whose} is in trouble itself ({_why(error)})", "if it stays so, restart the BMC") from error
    except (redfish.SushyError, ValueError, TypeError, AttributeError, requests.RequestException) as error:
        # Sushy reads what it is sent without looking at its shape.
        raise NotRedfish(f"{whose} answers, but not as Redfish does ({_why(error)})", "see to its address") from error


def _untrusted(login: BmcLogin) -> BmcFault:
    shows = shown_fingerprint(login.url)
    if shows is None:
        return Untrusted(f"{login.whose} speaks no TLS that we do", "turn on HTTPS with TLS 1.2 there")
    compare = f"compare it at the BMC's own console, then `caravan machine change {login.machine}"
    if login.fingerprint:
        says = f"{login.whose} shows another certificate than the one that is expected of it: its SHA-256 is {shows}"
        return Untrusted(says, f"if it got a new one, {compare} --bmc-fingerprint …`")
    says = f"{login.whose} shows a certificate that no authority known here has signed for it: its SHA-256 is {shows}"
    return Untrusted(
        says,
        f"{compare} --bmc-fingerprint …`; or give the authority in the cloud's `bmc_ca`; or, in a lab, "
        "--bmc-disable-certificate-verification",
    )


def _was_never_sent(fault: Unreachable) -> bool:
    """The connection was not even made."""
    return isinstance(fault.__cause__, requests.exceptions.ConnectTimeout) or isinstance(
        _innermost(fault.__cause__), NewConnectionError
    )


def _innermost(error: BaseException | None) -> BaseException | None:
    """What urllib3 met with: requests wraps it up, as often as it passes it on."""
    while error is not None:
        inner = getattr(error, "reason", None) or (error.args[-1] if error.args else None)
        if not isinstance(inner, BaseException):
            break
        error = inner
    return error


def _why(error: BaseException | None) -> str:
    """An error's own words, as short as they are of use; a BMC's may be long, and are nobody's we trust."""
    if isinstance(error, redfish.HTTPError):
        said = f"{error.status_code} {error.detail or ''}"
    else:
        error = _innermost(error)
        said = str(error).rpartition(": ")[2] or type(error).__name__
    return " ".join("".join(letter if letter.isprintable() else " " for letter in said).split())[:200]
