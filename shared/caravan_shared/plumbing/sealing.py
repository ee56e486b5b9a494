"""Secrets at rest: envelope encryption under a key ring that can be rotated while services run.

Each text gets a data key of its own (AES-256-GCM); the ring's current key wraps it. The context (such as
`<cluster id>/ca`) is authenticated with both, so that a sealed text cannot be moved to another place and still open.
Rotation adds a key and makes it current: old texts still open, new ones use the new key. Services read the ring again
now and then and bring what they keep under the new key (`sealed_columns`); then the old ones can be dropped.
"""

import base64
import fcntl
import json
import os
import secrets
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from caravan_shared.contracts.facts import WhoCanFix
from caravan_shared.plumbing.errors import GiveUp, Retry

_VERSION = "v1"
_NONCE = 12  # bytes; NIST SP 800-38D


class CannotOpen(GiveUp):
    """A sealed text does not open: its key is not on the ring, or it was altered or moved."""

    def __init__(self, context: str, why: str) -> None:
        super().__init__(f"the secret {context} cannot be opened: {why}", who_can_fix=WhoCanFix.OPERATOR)


class RingAway(Retry):
    """The ring's file cannot be read right now. What is on the ring already still seals and opens."""

    def __init__(self, path: Path, error: Exception) -> None:
        super().__init__(f"the key ring {path} cannot be read: {error}")


class KeyRing:
    """Named keys, one of them current. The file is JSON `{"current": id, "keys": {id: base64}}`, mode 0600."""

    def __init__(self, keys: dict[str, bytes], current: str, path: Path | None = None) -> None:
        self._keys, self._current, self._path = keys, current, path

    @classmethod
    def load(cls, path: Path) -> "KeyRing":
        """Read the ring at `path`, making one first if there is none (safe when services start together)."""
        if not path.exists():
            _create(path)
        return cls(*_read(path), path)

    @property
    def names(self) -> set[str]:
        """Of all its keys."""
        return set(self._keys)

    @property
    def current(self) -> str:
        """The name of the key that seals now."""
        return self._current

    @property
    def prefix(self) -> str:
        """What every text begins with that is sealed now."""
        return f"{_VERSION}.{self._current}."

    def reload(self) -> None:
        """Read the ring's file again: somebody may have turned it. Raises `RingAway`."""
        if self._path:
            try:
                self._keys, self._current = _read(self._path)
            except (OSError, ValueError, KeyError) as error:
                raise RingAway(self._path, error) from error

    def seal(self, text: str, context: str) -> str:
        """Encrypt `text` for `context`; the result is printable."""
        data_key = AESGCM.generate_key(256)
        body = _encrypt(data_key, text.encode(), context)
        wrapped = _encrypt(self._keys[self._current], data_key, context)
        return f"{self.prefix}{_printable(wrapped)}.{_printable(body)}"

    def open(self, sealed: str, context: str) -> str:
        """Decrypt what `seal` made for the same context; raises `CannotOpen`, `RingAway`."""
        try:
            version, name, wrapped, body = sealed.split(".")
        except ValueError as error:
            raise CannotOpen(context, "it is no sealed text") from error
        if version != _VERSION:
            raise CannotOpen(context, f"its format is {version!r}, not {_VERSION!r}")
        if name not in self._keys:
            self.reload()
        key = self._keys.get(name)
        if key is None:
            raise CannotOpen(context, f"its key {name!r} is not on the ring")
        try:
            data_key = _decrypt(key, _bytes(wrapped), context)
            return _decrypt(data_key, _bytes(body), context).decode()
        except (InvalidTag, ValueError) as error:
            raise CannotOpen(context, "it was altered, or sealed for another place") from error


def key_of(sealed: str) -> str:
    """The name of the key that a sealed text needs."""
    return sealed.split(".")[1]


def rotate(path: Path) -> str:
    """Add a new current key to the ring at `path`; return its name."""
    with _alone(path.parent):
        document = json.loads(path.read_text())
        name = _new_name()
        document["keys"][name] = base64.b64encode(AESGCM.generate_key(256)).decode()
        document["current"] = name
        _draft(path, document).replace(path)
    return name


def drop(path: Path, names: Collection[str]) -> None:
    """Take keys off the ring at `path`, never the current one. Texts under them do not open any more."""
    with _alone(path.parent):
        document = json.loads(path.read_text())
        if document["current"] in names:
            raise ValueError(f"{document['current']} is the current key")
        document["keys"] = {name: key for name, key in document["keys"].items() if name not in names}
        _draft(path, document).replace(path)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let one rotation at a time at the ring: of two, one would lose the other's key."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _read(path: Path) -> tuple[dict[str, bytes], str]:
    document = json.loads(path.read_text())
    return {name: base64.b64decode(key) for name, key in document["keys"].items()}, document["current"]


def _create(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    name = _new_name()
    draft = _draft(path, {"current": name, "keys": {name: base64.b64encode(AESGCM.generate_key(256)).decode()}})
    try:
        os.link(draft, path)  # fails if another service was first: its ring is the one
    except FileExistsError:
        pass
    finally:
        draft.unlink()


def _draft(path: Path, document: dict[str, object]) -> Path:
    """Write a whole ring beside `path`, on disk and readable for its owner alone."""
    draft = path.with_suffix(f".{secrets.token_hex(4)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(document, file)
        file.flush()
        os.fsync(file.fileno())
    return draft


def _new_name() -> str:
    return f"k{secrets.token_hex(4)}"


def _encrypt(key: bytes, plain: bytes, context: str) -> bytes:
    nonce = secrets.token_bytes(_NONCE)
    return nonce + AESGCM(key).encrypt(nonce, plain, context.encode())


def _decrypt(key: bytes, cipher: bytes, context: str) -> bytes:
    return AESGCM(key).decrypt(cipher[:_NONCE], cipher[_NONCE:], context.encode())


def _printable(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, altchars=b"-_", validate=True)
