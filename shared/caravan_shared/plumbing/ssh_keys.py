"""SSH key pairs, of those who enter machines and of the machines themselves."""

from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat


@dataclass(frozen=True)
class SshKeyPair:
    """OpenSSH texts: the public key as one line, and the private key."""

    public: str
    private: str = field(repr=False)


def make_ssh_key_pair(comment: str) -> SshKeyPair:
    """A new Ed25519 key pair."""
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
    return SshKeyPair(f"{public} {comment}", private)
