"""Naming what came of a look."""

import errno
import ssl

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey

from caravan_health.classify import of_answer, of_error, of_refusal
from caravan_health.errors import NotAKubeApiserver
from caravan_health.observation import Kind

CHECKS = b"[+]ping ok\n[+]etcd ok\nreadyz check passed\n"
FAILED = (
    b"[+]ping ok\n[-]etcd failed: reason withheld\n[-]poststarthook/rbac failed: not finished\nreadyz check failed\n"
)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, CHECKS, Kind.OK),
        (200, b"<html>It works!</html>", Kind.GARBAGE),
        (200, b"", Kind.GARBAGE),
        (301, b"", Kind.REDIRECT),
        (401, b"{}", Kind.AUTH),
        (403, b"{}", Kind.AUTH),
        (404, b"", Kind.GARBAGE),
        (429, b"", Kind.SERVER_ERROR),
        (500, b"oops", Kind.SERVER_ERROR),
        (503, b"", Kind.SERVER_ERROR),
        (500, FAILED, Kind.COMPONENT_NOT_READY),
    ],
)
def test_answer_is_named(status: int, body: bytes, kind: Kind) -> None:
    assert of_answer(status, body).kind is kind


def test_failing_components_are_named() -> None:
    assert of_answer(500, FAILED).components == ("etcd", "poststarthook/rbac")


def test_every_status_has_a_name() -> None:
    assert all(of_refusal(status).detail for status in range(100, 600))


def connector_error(number: int) -> aiohttp.ClientConnectorError:
    key = ConnectionKey("10.0.0.1", 6443, is_ssl=True, ssl=True, proxy=None, proxy_auth=None, proxy_headers_hash=None)
    return aiohttp.ClientConnectorError(key, OSError(number, "no"))


def tls_alert(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, reason)
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (TimeoutError(), Kind.TIMEOUT),
        (connector_error(errno.ECONNREFUSED), Kind.REFUSED),
        (connector_error(errno.EHOSTUNREACH), Kind.REFUSED),
        (connector_error(errno.EMFILE), Kind.MONITOR_UNFIT),
        (connector_error(errno.EADDRNOTAVAIL), Kind.MONITOR_UNFIT),
        (connector_error(errno.ENETUNREACH), Kind.MONITOR_UNFIT),
        (ConnectionResetError(errno.ECONNRESET, "reset"), Kind.REFUSED),
        (aiohttp.ServerDisconnectedError(), Kind.REFUSED),
        (aiohttp.ClientPayloadError(), Kind.GARBAGE),
        (NotAKubeApiserver("answers without end"), Kind.GARBAGE),
        (ssl.SSLError(1, "unexpected end"), Kind.TLS),
        (tls_alert("TLSV13_ALERT_CERTIFICATE_REQUIRED"), Kind.AUTH),
        (tls_alert("TLSV1_ALERT_PROTOCOL_VERSION"), Kind.TLS),
    ],
)
def test_error_is_named(error: Exception, kind: Kind) -> None:
    assert of_error(error).kind is kind


def test_defect_of_ours_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        of_error(ZeroDivisionError())
