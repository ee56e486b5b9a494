"""OpenID Connect as api and command line both meet it: which issuers may be asked, what one says of itself. Pure.

Sources: OpenID Connect Discovery 1.0 (sections 3 and 4); RFC 8628 and RFC 7009 for two endpoints that it does not have.
"""

from ipaddress import ip_address
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ValidationError

LARGEST_DOCUMENT = 256 * 1024
"""Bytes of what an issuer says of itself or of its keys; both are a few KiB."""


def _private_on_the_wire(url: str) -> str:
    parts = urlsplit(url)
    if not parts.hostname or parts.username is not None or parts.fragment:
        raise ValueError("it must be an https:// address without user and fragment")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname)):
        raise ValueError("it must begin with https:// (http:// only where its host is this machine's loopback)")
    return url


def _without_query(url: str) -> str:
    if urlsplit(url).query:
        raise ValueError("it must have no query")
    return url


def is_loopback(host: str) -> bool:
    """True for a host's name or address that only its own machine reaches."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


EndpointUrl = Annotated[str, AfterValidator(_private_on_the_wire)]
IssuerUrl = Annotated[EndpointUrl, AfterValidator(_without_query)]


class ProviderMetadata(BaseModel):
    """What an issuer says of itself, as far as anybody here wants to know."""

    issuer: IssuerUrl
    jwks_uri: EndpointUrl
    authorization_endpoint: EndpointUrl | None = None
    token_endpoint: EndpointUrl | None = None
    device_authorization_endpoint: EndpointUrl | None = None
    revocation_endpoint: EndpointUrl | None = None


def metadata_url(issuer: str) -> str:
    """Where an issuer says what it is."""
    return f"{issuer.rstrip('/')}/.well-known/openid-configuration"


def read_metadata(issuer: str, document: bytes) -> ProviderMetadata:
    """What the issuer says of itself. ValueError, with a sentence, if it is somebody else or says nothing usable."""
    try:
        metadata = ProviderMetadata.model_validate_json(document)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the document"
        raise ValueError(f"its discovery document is unusable: {where}: {first['msg']}") from error
    if metadata.issuer != issuer:
        # Section 4.3: else whoever serves one issuer's document could speak for another.
        raise ValueError(f"its discovery document names another issuer, {metadata.issuer[:200]!r}")
    return metadata
