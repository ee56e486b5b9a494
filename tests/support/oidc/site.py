"""The provider's process: `python -m tests.support.oidc.site FILE`, where the file is what `Setup` describes.

django-oauth-toolkit as it comes, but for two things that Keycloak, Dex, Google and others do and it does not: its
discovery document names the device endpoint, and a device grant with the scope `openid` is answered with an ID token.
"""

import json
import sys
from pathlib import Path
from typing import Any

import django
import uvicorn
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.management import call_command

from tests.support.oidc.setup import Setup

_LOGIN_PAGE = "<form method=post>{% csrf_token %}{{ form.as_p }}<button type=submit>Log in</button></form>"
_PARTS = ("auth", "contenttypes", "sessions", "oauth2_provider")


def serve(setup: Setup) -> None:
    """Serve until the process is ended."""
    settings.configure(
        SECRET_KEY="not one",
        ALLOWED_HOSTS=[setup.host],
        USE_TZ=True,
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": setup.store}},
        MIGRATION_MODULES=dict.fromkeys(_PARTS),  # tables made as they are now, at once
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions", _PARTS[-1]],
        MIDDLEWARE=[
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
        ],
        ROOT_URLCONF="tests.support.oidc.routes",
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        TEMPLATES=[
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "OPTIONS": {
                    "context_processors": ["django.template.context_processors.request"],
                    "loaders": [
                        ("django.template.loaders.locmem.Loader", {"registration/login.html": _LOGIN_PAGE}),
                        "django.template.loaders.app_directories.Loader",
                    ],
                },
            }
        ],
        OAUTH2_PROVIDER=_provider_settings(setup),
        LOGGING={  # else errors are mailed to an admin
            "version": 1,
            "handlers": {"console": {"class": "logging.StreamHandler"}},
            "loggers": {"django.request": {"handlers": ["console"], "level": "ERROR"}},
        },
        CLAIMS={user: dict(claims) for user, claims in setup.claims.items()},
    )
    django.setup()
    call_command("migrate", run_syncdb=True, verbosity=0)
    _fill(setup)
    uvicorn.run(
        get_asgi_application(),
        host=setup.host,
        port=setup.port,
        ssl_certfile=setup.certificate,
        ssl_keyfile=setup.certificate,
        lifespan="off",
        log_level="warning",
    )


def _provider_settings(setup: Setup) -> dict[str, Any]:
    active, *others = setup.keys
    return {
        "OIDC_ENABLED": True,
        "OIDC_ISS_ENDPOINT": setup.issuer,
        "OIDC_RSA_PRIVATE_KEY": active,
        "OIDC_RSA_PRIVATE_KEYS_INACTIVE": others,
        "ID_TOKEN_EXPIRE_SECONDS": setup.tokens_last_s,
        "PKCE_REQUIRED": True,
        "SCOPES": {"openid": "who you are", "email": "your address", "offline_access": "while you are away"},
        "OAUTH2_VALIDATOR_CLASS": "tests.support.oidc.grants.Validator",
        "OIDC_SERVER_CLASS": "tests.support.oidc.grants.Server",
        "OAUTH_DEVICE_VERIFICATION_URI": f"{setup.issuer}/device/",
        "OAUTH_DEVICE_VERIFICATION_URI_COMPLETE": lambda code: f"{setup.issuer}/device/?user_code={code}",
        "DEVICE_FLOW_INTERVAL": 1,
    }


def _fill(setup: Setup) -> None:
    from django.contrib.auth.models import User
    from oauth2_provider.models import Application

    for user in setup.claims:
        if not User.objects.filter(username=user).exists():
            User.objects.create_user(user, password=user)
    for client, grant in setup.clients.items():
        Application.objects.get_or_create(
            client_id=client,
            defaults={
                "name": client,
                "client_type": Application.CLIENT_PUBLIC,
                "authorization_grant_type": grant,
                "redirect_uris": "http://127.0.0.1/callback http://127.0.0.1/login/callback",
                "algorithm": Application.RS256_ALGORITHM,
            },
        )


if __name__ == "__main__":
    serve(Setup(**json.loads(Path(sys.argv[1]).read_text())))
