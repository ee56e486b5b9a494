"""The provider's routes: the toolkit's at the root, a login page, and a discovery document with the device endpoint."""

import json
from typing import Any

from django.contrib.auth.views import LoginView
from django.http import HttpRequest, JsonResponse
from django.urls import include, path
from oauth2_provider.views import ConnectDiscoveryInfoView, DeviceAuthorizationView

_discovery = ConnectDiscoveryInfoView.as_view()


def discovery(request: HttpRequest) -> JsonResponse:
    """The toolkit's discovery document, and two endpoints that it has but does not name there."""
    document: dict[str, Any] = json.loads(_discovery(request).content)
    return JsonResponse(
        {
            **document,
            "device_authorization_endpoint": f"{document['issuer']}/device-authorization/",
            "revocation_endpoint": f"{document['issuer']}/revoke_token/",
        }
    )


class DeviceAuthorization(DeviceAuthorizationView):
    """The toolkit's view, which does not know a field that oauthlib 4 answers with."""

    def create_device_authorization_response(self, request: HttpRequest) -> Any:
        """What oauthlib answers, without the scope."""
        headers, answer, status = super().create_device_authorization_response(request)
        if status == 200:
            del answer["scope"]
        return headers, answer, status


urlpatterns = [
    path("device-authorization/", DeviceAuthorization.as_view()),
    path(".well-known/openid-configuration", discovery),
    path("accounts/login/", LoginView.as_view()),
    path("", include("oauth2_provider.urls")),
]
