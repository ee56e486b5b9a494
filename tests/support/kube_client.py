"""Kubernetes' own client for Python, with a kubeconfig that Caravan handed out. Blocking."""

from typing import Any

import yaml
from kubernetes import client, config


def core_v1(kubeconfig: str) -> Any:
    """The core API, for whomever the kubeconfig's text is for."""
    return client.CoreV1Api(config.new_client_from_config_dict(yaml.safe_load(kubeconfig)))
