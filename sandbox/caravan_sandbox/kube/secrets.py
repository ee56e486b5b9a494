"""Secrets as an apiserver keeps them: `stringData` is for writing only and ends up, encoded, in `data`.

Source: https://kubernetes.io/docs/reference/kubernetes-api/config-and-storage-resources/secret-v1/
"""

import base64
from collections.abc import Mapping
from typing import Any


def with_string_data_folded(body: Mapping[str, Any]) -> dict[str, Any]:
    """The Secret with its `stringData`, if any, moved into `data`."""
    kept = {name: value for name, value in body.items() if name != "stringData"}
    plain = body.get("stringData")
    if not plain:
        return kept
    encoded = {name: base64.b64encode(str(text).encode()).decode() for name, text in plain.items()}
    return {**kept, "data": {**(body.get("data") or {}), **encoded}}
