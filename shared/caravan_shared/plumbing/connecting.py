"""Connect to whichever NATS server is there, and go on trying whatever one answers.

A cluster tells its clients where its other servers are, without the user and password that stand in our URLs: these are
given for all servers at once. And FastStream takes some answers of one server (a refusal, a stale connection) for
hopeless and raises them into nats-py's attempt to reconnect, which then ends for good while the client still says that
it is reconnecting: here errors are told, and nothing more.
"""

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from faststream.nats import NatsBroker
from faststream.nats.security import NatsUserPassword

if TYPE_CHECKING:
    from nats.aio.client import ErrorCallback


class PatientBroker(NatsBroker):
    """FastStream's broker, whose client never gives up."""

    def _log_connection_broken(self, error_cb: "ErrorCallback | None" = None) -> "ErrorCallback":
        assert error_cb, "somebody has to hear of errors"
        return error_cb


def servers(url: str) -> tuple[list[str], NatsUserPassword | None]:
    """The servers of a comma-separated URL, and who we are to all of them, also to those that we are told of later.

    None: the URLs name nobody, or not the same to each; they are left as they are.
    """
    urls = url.split(",")
    parts = [urlsplit(each) for each in urls]
    (user, password), *others = {(each.username, each.password) for each in parts}
    if others or user is None or password is None:
        return urls, None
    bare = [each._replace(netloc=each.netloc.rpartition("@")[2]).geturl() for each in parts]
    return bare, NatsUserPassword(user, password)
