"""YAML as Kubernetes reads it: JSON's types only, so timestamps stay the texts they are."""

from typing import Any

import yaml


class _JsonTypes(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # the C loader may be missing
    yaml_implicit_resolvers = {  # noqa: RUF012  # PyYAML's own way to be configured
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def load_all(text: str) -> list[Any]:
    """Every non-empty document of a YAML text. Raises ValueError naming what is wrong."""
    try:
        return [document for document in yaml.load_all(text, Loader=_JsonTypes) if document is not None]
    except yaml.YAMLError as error:
        raise ValueError(f"not YAML: {error}") from error


def load_mappings(text: str) -> list[dict[str, Any]]:
    """Every document, each of which has to be a mapping. Raises ValueError otherwise."""
    documents = load_all(text)
    if not all(isinstance(document, dict) for document in documents):
        raise ValueError("every YAML document has to be a mapping")
    return documents
