"""Tell a product's own requests from everybody else's. Pure.

Slack signs time and body: https://docs.slack.dev/authentication/verifying-requests-from-slack. Mattermost sends the
command's token with each command, and with a pressed button nothing but what we gave it, so that is signed by us.
"""

import hashlib
import hmac
from datetime import datetime

_WINDOW_S = 300  # Slack's own advice: what is older may be a replay
_LONGEST_TIME = 12  # digits


def by_slack(secret: str, time: str | None, signature: str | None, body: bytes, now: datetime) -> bool:
    """Whether Slack signed this body, within five minutes of now."""
    if not time or not signature or len(time) > _LONGEST_TIME or not (time.isascii() and time.isdecimal()):
        return False
    if abs(now.timestamp() - int(time)) > _WINDOW_S:
        return False
    return _same(signature, f"v0={_mac(secret, f'v0:{time}:'.encode() + body)}")


def by_mattermost(token: str, authorization: str | None) -> bool:
    """Whether the `Authorization` header holds the command's token."""
    return _same(authorization or "", f"Token {token}")


def of_button(token: str, command: str, chat_user: str, expires: int) -> str:
    """Our signature of a button in Mattermost: this command, for this user, until then (seconds since 1970)."""
    return _mac(token, "\n".join(("caravan button", str(expires), chat_user, command)).encode("utf-8", "replace"))


def is_of_button(given: str, token: str, command: str, chat_user: str, expires: int) -> bool:
    """Whether that is our signature."""
    return _same(given, of_button(token, command, chat_user, expires))


def digest(text: str) -> str:
    """What is kept of a text that is a secret or long, to know it again."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def _mac(secret: str, message: bytes) -> str:
    return hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()


def _same(given: str, right: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), right.encode())
