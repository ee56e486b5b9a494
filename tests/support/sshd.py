"""Real OpenSSH servers on loopback. They carry nothing out: what they are told to do is written down, and fails."""

import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.ports import accepts, free_port

ADDRESS = "127.0.0.1"
_PRIVILEGE_SEPARATION = Path("/run/sshd")
"""sshd insists on it where it runs as root. Debian's package leaves it to its init script."""


def missing() -> str | None:
    """What keeps servers from being started here; None: nothing."""
    if _binary() is None:
        return "there is no sshd (Debian: apt install openssh-server)"
    if os.getuid() == 0 and "sshd" not in {user.pw_name for user in pwd.getpwall()}:
        return "there is no user sshd, as whom sshd of root needs to be"
    return None


@dataclass(frozen=True)
class HostKey:
    """A host's key pair: the file of the private half, and the public one as `<type> <base64>`."""

    file: Path
    public: str

    @classmethod
    def new(cls, file: Path, kind: str) -> "HostKey":
        """A new one; `kind` as ssh-keygen calls it."""
        subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "", "-f", str(file)], check=True)
        return cls(file, " ".join(file.with_suffix(".pub").read_text().split()[:2]))


@dataclass(frozen=True)
class Sshd:
    """One server that runs."""

    folder: Path
    port: int

    @property
    def log(self) -> str:
        """All that it says of who came and how far they got."""
        return (self.folder / "log").read_text()

    @property
    def commands(self) -> list[str]:
        """What it was told to do."""
        told = self.folder / "commands"
        return told.read_text().splitlines() if told.exists() else []


@contextmanager
def sshd(folder: Path, key: HostKey, lets_in: str) -> Iterator[Sshd]:
    """A server with that host key, which lets in our own user with that key."""
    folder.mkdir()
    server = Sshd(folder, free_port())
    (folder / "authorized_keys").write_text(f"{lets_in}\n")
    (folder / "refuse").write_text(f'echo "$SSH_ORIGINAL_COMMAND" >> {folder}/commands; exit 1\n')
    (folder / "config").write_text(_config(server, key))
    if os.getuid() == 0:
        _PRIVILEGE_SEPARATION.mkdir(mode=0o755, exist_ok=True)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([_binary() or "sshd", "-D", "-e", "-f", str(folder / "config")], stderr=log)
    try:
        while not accepts(server.port, ADDRESS):
            assert process.poll() is None, server.log
            time.sleep(0.02)
        yield server
    finally:
        process.terminate()
        process.wait(10)


def _config(server: Sshd, key: HostKey) -> str:
    return f"""
ListenAddress {ADDRESS}:{server.port}
HostKey {key.file}
AuthorizedKeysFile {server.folder}/authorized_keys
ForceCommand /bin/sh {server.folder}/refuse
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin yes
LogLevel DEBUG1
"""


def _binary() -> str | None:
    return shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
