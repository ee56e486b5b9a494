"""What the provider's process adds to django-oauth-toolkit: our users' claims, and ID tokens for devices.

The toolkit 3.4 was written for oauthlib 3, whose device grant asked the validator for less than that of oauthlib 4.
"""

import json
from typing import Any

from django.conf import settings
from oauth2_provider.models import get_device_grant_model
from oauth2_provider.oauth2_validators import OAuth2Validator
from oauthlib.oauth2.rfc8628.grant_types import DeviceCodeGrant
from oauthlib.openid import Server as OpenIdServer
from oauthlib.openid.connect.core.grant_types import AuthorizationCodeGrant

DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"


class Validator(OAuth2Validator):
    """Tells of a user what the setup says, whatever scopes were asked for."""

    oidc_claim_scope = None

    def get_additional_claims(self, request: Any) -> dict[str, Any]:
        """The claims of the user that the token is for."""
        claims: dict[str, Any] = settings.CLAIMS[request.user.username]
        return claims

    def validate_device_code(self, client_id: str, device_code: str, request: Any) -> str:
        """Whose device it is and what it may do; the toolkit's view has refused those that are not authorized."""
        device = get_device_grant_model().objects.get(client_id=client_id, device_code=device_code)
        request.user, request.scopes = device.user, device.scope.split()
        return DeviceCodeGrant.DEVICE_CODE_AUTHORIZED


class DeviceGrant(DeviceCodeGrant):
    """RFC 8628 for OpenID Connect: with an ID token, where the scope asks for one."""

    def create_token_response(self, request: Any, token_handler: Any) -> tuple[Any, str, int]:
        """The answer to a device that asks for its tokens."""
        headers, body, status = super().create_token_response(request, token_handler)
        if status != 200:
            return headers, body, status
        token = AuthorizationCodeGrant(self.request_validator).add_id_token(json.loads(body), token_handler, request)
        return headers, json.dumps(token), status


class Server(OpenIdServer):
    """The toolkit's server with that grant."""

    def __init__(self, request_validator: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(request_validator, *args, **kwargs)
        self.grant_types[DEVICE_GRANT] = DeviceGrant(request_validator, **kwargs)
