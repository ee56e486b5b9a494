"""Search everything that a stack writes for secrets, in each form in which one could lie there."""

import gzip
import json
from base64 import b64encode
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

_OWN = frozenset({"credentials", "credentials.yaml", "stack.json", "keys.json"})
"""The stack's own keys and credentials, readable by its owner alone."""
_FAR_END = "sandbox-cloud.db"
"""No part of Caravan."""


def keeps_secrets(state_dir: Path) -> frozenset[str]:
    """Names of the files of a stack that hold secrets on purpose."""
    return _OWN | {path.name for path in state_dir.glob(f"{_FAR_END}*")}


def hits(secrets: Mapping[str, str], roots: list[Path], *, but: frozenset[str] = frozenset()) -> list[str]:
    """`<secret's name> in <file>` for every file under `roots` that holds a secret, plain or encoded.

    `but` are names of files that hold secrets on purpose.
    """
    forms = {name: tuple(_forms(secret)) for name, secret in secrets.items()}
    return [
        f"{name} in {path}"
        for path in _files(roots)
        if path.name not in but
        for content in (_content(path),)
        for name, encoded in forms.items()
        if any(form in content for form in encoded)
    ]


def _files(roots: list[Path]) -> Iterator[Path]:
    for root in roots:
        yield from (path for path in sorted(root.rglob("*")) if path.is_file())


def _content(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def _forms(secret: str) -> Iterator[bytes]:
    """The text itself, as JSON, URL, hex, UTF-16, and base64 at each of the three offsets that it can have."""
    raw = secret.encode()
    yield raw
    yield json.dumps(secret)[1:-1].encode()
    yield quote(secret, safe="").encode()
    yield raw.hex().encode()
    yield secret.encode("utf-16-le")
    for offset in range(3):
        # What precedes in a longer text changes the first characters, what follows the last.
        encoded = b64encode(b"\0" * offset + raw)
        yield encoded[4 if offset else 0 : len(encoded) - 4]
