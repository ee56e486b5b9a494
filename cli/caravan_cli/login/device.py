"""Log in on a machine without a browser: the person uses one elsewhere, with a code (RFC 8628)."""

import time
from collections.abc import Callable

from caravan_cli.errors import TimedOut, Unavailable
from caravan_cli.login.grant import redeemed
from caravan_cli.login.issuer import DEVICE_GRANT, DeviceCode, Issuer, IssuerRefused
from caravan_cli.login.kept import Login

SLOWER_S = 5.0  # RFC 8628, section 3.5: for every slow_down
_LONGEST_PAUSE_S = 60.0


def log_in(issuer: Issuer, *, timeout_s: float, show: Callable[[DeviceCode], None]) -> Login:
    """Have somebody log in with the code that `show` gets. TimedOut if nobody does, IssuerRefused if they say no."""
    code = issuer.device_code()
    show(code)
    grant = {"grant_type": DEVICE_GRANT, "device_code": code.device_code}
    pause_s, deadline = code.interval, time.monotonic() + min(timeout_s, code.expires_in)
    while time.monotonic() + pause_s < deadline:
        time.sleep(pause_s)
        try:
            return redeemed(issuer, grant)
        except IssuerRefused as refused:
            pause_s = slower(pause_s, refused)
        except Unavailable:
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
    raise TimedOut("Nobody logged in with the code in time. Ask for another one with: caravan login --device")


def slower(pause_s: float, refused: IssuerRefused) -> float:
    """The pause before the issuer may be asked again; raises what is more than a request for patience."""
    if refused.code == "slow_down":
        return pause_s + SLOWER_S
    if refused.code == "authorization_pending":
        return pause_s
    raise refused
