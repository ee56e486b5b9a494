"""The issuer over HTTP, as the public client that people log in with: its endpoints, and its ways to say no.

Sources: OpenID Connect Discovery 1.0, RFC 6749 (sections 5 and 6), RFC 7009, RFC 8628 (section 3).
"""

import json
from collections.abc import Mapping
from types import TracebackType
from typing import Self, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from caravan_cli.errors import CliError, NotAllowed, Unavailable
from caravan_shared.contracts.oidc import LARGEST_DOCUMENT, IssuerUrl, metadata_url, read_metadata

TIMEOUT_S = 10.0  # one call
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"

Answer = TypeVar("Answer", bound=BaseModel)


class HowToLogIn(BaseModel):
    """What the API says of its issuer."""

    issuer: IssuerUrl
    client_id: str
    scopes: tuple[str, ...] = ()


class Tokens(BaseModel):
    """What a token endpoint answers, as far as it is used."""

    id_token: str | None = None
    refresh_token: str | None = None


class DeviceCode(BaseModel):
    """What a device endpoint answers."""

    device_code: str
    user_code: str
    verification_uri: str
    verification_uri_complete: str | None = None
    expires_in: float
    interval: float = 5


class IssuerRefused(NotAllowed):
    """The issuer says no; `code` is its word for why, such as `access_denied`."""

    def __init__(self, issuer: str, code: str, description: str) -> None:
        super().__init__(f"{issuer} refuses: {description or code}")
        self.code = code


class Issuer:
    """One issuer. Every call raises Unavailable if it does not answer, CliError if it answers nonsense."""

    def __init__(self, how: HowToLogIn, transport: httpx.BaseTransport | None = None) -> None:
        self.name, self.client_id, self.scopes = how.issuer, how.client_id, how.scopes
        self._http = httpx.Client(timeout=TIMEOUT_S, transport=transport, headers={"Accept": "application/json"})
        try:
            self.metadata = read_metadata(self.name, self._send("GET", metadata_url(self.name)).content)
        except ValueError as error:
            raise CliError(f"{self.name} cannot be used: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def tokens(self, grant: Mapping[str, str]) -> Tokens:
        """The tokens that this grant is good for. IssuerRefused if it is good for none."""
        return self._asked(Tokens, self.metadata.token_endpoint, "token endpoint", grant)

    def device_code(self) -> DeviceCode:
        """Begin the login of a device without a browser."""
        endpoint = self.metadata.device_authorization_endpoint
        return self._asked(
            DeviceCode, endpoint, "login for devices without a browser", {"scope": " ".join(self.scopes)}
        )

    def revoke(self, refresh_token: str) -> None:
        """Have the issuer forget a refresh token, if it can be told to."""
        if endpoint := self.metadata.revocation_endpoint:
            told = {"client_id": self.client_id, "token": refresh_token, "token_type_hint": "refresh_token"}
            response = self._send("POST", endpoint, told)
            if response.is_error:
                raise self._refused(response)

    def _asked(self, kind: type[Answer], endpoint: str | None, what: str, told: Mapping[str, str]) -> Answer:
        if endpoint is None:
            raise CliError(f"{self.name} has no {what}.")
        response = self._send("POST", endpoint, {"client_id": self.client_id, **told})
        if response.is_error:
            raise self._refused(response)
        try:
            return kind.model_validate_json(response.content)
        except ValidationError as error:
            raise CliError(f"{self.name} did not answer as an issuer does: at {endpoint}") from error

    def _send(self, method: str, url: str, form: Mapping[str, str] | None = None) -> httpx.Response:
        try:
            response = self._http.request(method, url, data=form)
        except httpx.TransportError as error:
            raise Unavailable(f"{self.name} does not answer: {str(error) or type(error).__name__}") from error
        if response.is_server_error or response.is_redirect:
            raise Unavailable(f"{self.name} answers {response.status_code} at {url}")
        if len(response.content) > LARGEST_DOCUMENT:
            raise CliError(f"{self.name} did not answer as an issuer does: too much at {url}")
        return response

    def _refused(self, response: httpx.Response) -> CliError:
        try:
            told = response.json()
            return IssuerRefused(self.name, str(told["error"]), str(told.get("error_description") or ""))
        except (json.JSONDecodeError, UnicodeDecodeError, TypeError, KeyError, AttributeError):
            return CliError(f"{self.name} answers {response.status_code} at {response.url}")
