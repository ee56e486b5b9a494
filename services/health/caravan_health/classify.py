"""Name what came of a look: an exception or an answer becomes a Kind and a phrase. Pure."""

import errno
import re
import socket
import ssl

import aiohttp

from caravan_health.errors import NotAKubeApiserver
from caravan_health.observation import Kind, Observation

_OUR_TROUBLE = {
    errno.EMFILE: "no file descriptors left",
    errno.ENFILE: "no file descriptors left on this host",
    errno.ENOBUFS: "no socket buffers left",
    errno.ENOMEM: "no memory left",
    errno.EADDRNOTAVAIL: "no local ports left",
    errno.ENETDOWN: "this host's network is down",
    errno.ENETUNREACH: "this host has no route there",
}
# The peer's alert about the certificate that *we* presented (RFC 8446, section 6.2), as OpenSSL names it.
_ALERT_ON_OUR_CERTIFICATE = re.compile(
    r"ALERT_(BAD_CERTIFICATE|UNSUPPORTED_CERTIFICATE|CERTIFICATE_\w+|UNKNOWN_CA|ACCESS_DENIED|DECRYPT_ERROR)"
)
_FAILED_CHECK = re.compile(rb"^\[-\]([^\s]+)", re.MULTILINE)
_CHECKS_PASSED = b"check passed"


def of_answer(status: int, body: bytes) -> Observation:
    """What an answer to /readyz?verbose says. The body's form: https://kubernetes.io/docs/reference/using-api/health-checks/"""
    if status == 200:
        if _CHECKS_PASSED in body:
            return Observation(Kind.OK)
        return Observation(Kind.GARBAGE, "answers 200 with something that is not a list of checks")
    refusal = of_refusal(status)
    failed = tuple(name.decode("ascii", "replace") for name in _FAILED_CHECK.findall(body))
    if refusal.kind is Kind.SERVER_ERROR and failed:
        return Observation(Kind.COMPONENT_NOT_READY, f"answers {status}", failed)
    return refusal


def of_refusal(status: int) -> Observation:
    """What a status other than 200 says, whatever was asked."""
    if status in (401, 403):
        return Observation(Kind.AUTH, f"it refuses our credentials ({status})")
    if status == 429 or status >= 500:
        return Observation(Kind.SERVER_ERROR, f"answers {status}")
    if 300 <= status < 400:
        return Observation(Kind.REDIRECT, f"redirects ({status}) as no kube-apiserver does")
    return Observation(Kind.GARBAGE, f"answers {status} as no kube-apiserver does")


def of_error(error: Exception) -> Observation:
    """What an exception while asking says."""
    match error:
        case TimeoutError():
            return Observation(Kind.TIMEOUT, "does not answer in time")
        case NotAKubeApiserver():
            return Observation(Kind.GARBAGE, str(error))
        case aiohttp.ClientConnectorDNSError():
            return _of_resolver(error.os_error)
        case aiohttp.ClientConnectorCertificateError():
            return _of_tls(error.certificate_error)
        case aiohttp.ClientConnectorSSLError() | aiohttp.ClientSSLError():
            return _of_tls(error.os_error)
        case ssl.SSLError():
            return _of_tls(error)
        case aiohttp.ClientOSError() | OSError():
            return _of_os(error)
        case aiohttp.ServerDisconnectedError():
            return Observation(Kind.REFUSED, "closes the connection")
        case aiohttp.ClientError() | ValueError():
            return Observation(Kind.GARBAGE, "answers something that is not HTTP")
    raise error


def _of_resolver(error: OSError) -> Observation:
    if error.errno == socket.EAI_AGAIN:
        return Observation(Kind.MONITOR_UNFIT, "this host's resolver does not answer")
    return Observation(Kind.DNS, "its name does not resolve")


def _of_tls(error: Exception) -> Observation:
    if isinstance(error, ssl.SSLCertVerificationError):
        return Observation(Kind.TLS, f"its certificate is not trusted: {error.verify_message}")
    if isinstance(error, ssl.SSLError):
        reason = str(getattr(error, "reason", None) or "no reason given")  # only OpenSSL's own errors name one
        readable = reason.lower().replace("_", " ")
        if _ALERT_ON_OUR_CERTIFICATE.search(reason):
            return Observation(Kind.AUTH, f"it refuses our certificate ({readable})")
        return Observation(Kind.TLS, f"TLS fails: {readable}")
    return Observation(Kind.TLS, "TLS fails")


def _of_os(error: OSError) -> Observation:
    """Errors may come wrapped: aiohttp keeps the number, its causes keep what TLS said."""
    for cause in (error, error.__cause__):
        if isinstance(cause, ssl.SSLError):
            return _of_tls(cause)
    if error.errno in _OUR_TROUBLE:
        return Observation(Kind.MONITOR_UNFIT, _OUR_TROUBLE[error.errno])
    if error.errno == errno.ECONNREFUSED:
        return Observation(Kind.REFUSED, "refuses the connection")
    if error.errno in (errno.EHOSTUNREACH, errno.EHOSTDOWN):
        return Observation(Kind.REFUSED, "no host answers there")
    return Observation(Kind.REFUSED, "breaks the connection")
