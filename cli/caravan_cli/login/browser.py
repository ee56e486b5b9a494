"""Log in with a browser on this machine: authorization code with PKCE, and a loopback redirect to hear the answer.

Sources: OpenID Connect Core 1.0 (section 3.1), RFC 8252 (native apps), RFC 7636 (PKCE), RFC 9207 (who answers).
"""

import base64
import hashlib
import hmac
import queue
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlencode, urlsplit

from caravan_cli.errors import CliError, TimedOut, Unavailable
from caravan_cli.login.grant import redeemed
from caravan_cli.login.issuer import Issuer, IssuerRefused
from caravan_cli.login.kept import Login

_PATH = "/callback"
_LOOK_EVERY_S = 0.05  # whether the login is over; far below what a person notices
_DONE = "Go back to your terminal: the rest is told there. You can close this window."
_STRANGE = "This answers no login that is under way here."


class Callback(ThreadingHTTPServer):
    """Hears the answer to the login of that `state`; whatever else comes is turned away.

    A thread for each connection, because browsers open some that they send nothing on.
    """

    daemon_threads = True

    def __init__(self, port: int, state: str) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.state = state
        self.answers: queue.SimpleQueue[dict[str, str]] = queue.SimpleQueue()

    @property
    def uri(self) -> str:
        """Where the issuer sends the browser; an address and no name, as RFC 8252 (section 7.3) has it."""
        return f"http://127.0.0.1:{self.server_address[1]}{_PATH}"


def log_in(issuer: Issuer, *, port: int, timeout_s: float, show: Callable[[str], None]) -> Login:
    """Have somebody log in at the address that `show` gets. `port` 0 is any that is free.

    TimedOut if nobody does, IssuerRefused if the issuer or the user says no.
    """
    state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
    with _listening(port, state) as callback:
        show(_address(issuer, callback.uri, state, nonce, verifier))
        try:
            answer = callback.answers.get(timeout=timeout_s)
        except queue.Empty:
            raise TimedOut("Nobody logged in before --timeout passed.") from None
    grant = {
        "grant_type": "authorization_code",
        "code": _code(answer, issuer),
        "redirect_uri": callback.uri,
        "code_verifier": verifier,
    }
    return redeemed(issuer, grant, nonce=nonce)


@contextmanager
def _listening(port: int, state: str) -> Iterator[Callback]:
    try:
        callback = Callback(port, state)
    except OSError as error:
        raise Unavailable(f"Port {port} of this machine cannot be listened on: {error.strerror}.") from error
    with callback:
        thread = threading.Thread(target=callback.serve_forever, args=[_LOOK_EVERY_S], name="callback", daemon=True)
        thread.start()
        try:
            yield callback
        finally:
            callback.shutdown()


def _address(issuer: Issuer, redirect_uri: str, state: str, nonce: str, verifier: str) -> str:
    endpoint = issuer.metadata.authorization_endpoint
    if endpoint is None:
        raise CliError(f"{issuer.name} has no login with a browser.")
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    asked = {
        "response_type": "code",
        "client_id": issuer.client_id,
        "redirect_uri": redirect_uri,
        "scope": " ".join(issuer.scopes),
        "state": state,
        "nonce": nonce,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    return f"{endpoint}{'&' if urlsplit(endpoint).query else '?'}{urlencode(asked)}"


def _code(answer: Mapping[str, str], issuer: Issuer) -> str:
    if answer.get("iss", issuer.name) != issuer.name:
        raise CliError(f"The answer to the login is from {answer['iss']}, and not from {issuer.name}.")
    if "error" in answer:
        raise IssuerRefused(issuer.name, answer["error"], answer.get("error_description", ""))
    if "code" not in answer:
        raise CliError(f"{issuer.name} did not answer as an issuer does: there is no code in its redirect.")
    return answer["code"]


class _Handler(BaseHTTPRequestHandler):
    server: Callback

    def do_GET(self) -> None:
        """Take the answer, or turn a stranger away."""
        asked = urlsplit(self.path)
        told = dict(parse_qsl(asked.query))
        ours = hmac.compare_digest(told.get("state", "").encode(), self.server.state.encode())
        if asked.path != _PATH or not ours:
            self._say(404, _STRANGE)
            return
        self._say(200, _DONE)
        self.server.answers.put(told)

    def _say(self, status: int, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is http.server's
        """Say nothing: the request holds the code."""
