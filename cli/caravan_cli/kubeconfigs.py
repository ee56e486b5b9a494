"""What stands in kubeconfigs: taken out of one that was issued, put into one that asks a program for its credentials.

Pure. The form: https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/, of plugins
https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins
"""

from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import yaml

PLUGIN_VERSION = "client.authentication.k8s.io/v1"
SHORTEST_S, LONGEST_S = 60, 8 * 3600  # that the API issues one for


class AccessRole(StrEnum):
    """What a kubeconfig allows."""

    ADMIN = "admin"
    EDITOR = "editor"
    VIEWER = "viewer"


@dataclass(frozen=True)
class Plugin:
    """A program that kubectl runs for credentials, and runs again once they have expired."""

    command: tuple[str, ...]
    hint: str
    """What kubectl tells where there is no such program."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Set for it beside kubectl's own environment. No secrets: they would stand in the file."""
    asks_people: bool = False

    def entry(self) -> dict[str, Any]:
        """Its place in a kubeconfig's user."""
        program, *arguments = self.command
        return {
            "apiVersion": PLUGIN_VERSION,
            "command": program,
            "args": arguments,
            "env": [{"name": name, "value": value} for name, value in self.env.items()],
            "installHint": self.hint,
            "interactiveMode": "IfAvailable" if self.asks_people else "Never",
            "provideClusterInfo": False,
        }


def client_certificate(kubeconfig: str) -> tuple[str, str]:
    """The client's certificate and private key in an issued kubeconfig, PEM texts."""
    (user,) = yaml.safe_load(kubeconfig)["users"]
    certificate, key = (b64decode(user["user"][f"client-{part}-data"]).decode() for part in ("certificate", "key"))
    return certificate, key


def with_plugin(kubeconfig: str, plugin: Plugin) -> str:
    """An issued kubeconfig with its credentials left out, and a program in their place."""
    config = yaml.safe_load(kubeconfig)
    (context,) = config["contexts"]
    # Files are merged by names: one user's entries for two clusters must not be one.
    user = f"{context['context']['user']}@{context['name']}"
    context["context"]["user"] = user
    config["users"] = [{"name": user, "user": {"exec": plugin.entry()}}]
    return yaml.safe_dump(config, sort_keys=False, width=10_000)  # base64 stays on one line, as kubectl writes it
