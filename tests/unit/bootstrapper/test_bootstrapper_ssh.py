"""Ways in: key pairs that OpenSSH can read, and host keys that are pinned before the first connection."""

import asyncio
import stat
import subprocess
from dataclasses import replace
from pathlib import Path

from caravan_bootstrapper import ssh
from caravan_bootstrapper.views import NodeView
from caravan_shared.contracts.spec import Role
from caravan_shared.contracts.states import MembershipState
from caravan_shared.plumbing.ssh_keys import make_ssh_key_pair


def machine(name: str, address: str, *keys: str) -> NodeView:
    return NodeView(name, "workers", MembershipState.WAITING, Role.WORKER, address=address, host_keys=keys)


def test_private_key_opens_what_the_public_line_lets_in(tmp_path: Path) -> None:
    pair = make_ssh_key_pair(ssh.COMMENT)
    file = tmp_path / "key"
    file.touch(mode=stat.S_IRUSR | stat.S_IWUSR)
    file.write_text(pair.private)
    derived = subprocess.run(["ssh-keygen", "-y", "-f", str(file)], check=True, capture_output=True, text=True).stdout
    assert pair.public.split()[:2] == derived.split()[:2]


def test_private_key_is_not_in_a_repr() -> None:
    assert "PRIVATE" not in repr(make_ssh_key_pair(ssh.COMMENT))


def test_every_key_of_every_machine_is_pinned_to_its_address() -> None:
    nodes = [machine("a", "10.0.0.1", "ssh-ed25519 AAAA", "ssh-rsa BBBB"), machine("b", "10.0.0.2", "ssh-ed25519 CCCC")]
    elsewhere = replace(machine("c", "10.0.0.3", "ssh-ed25519 DDDD"), ssh_port=2222)
    assert ssh.known_hosts([*nodes, elsewhere]).splitlines() == [
        "10.0.0.1 ssh-ed25519 AAAA",
        "10.0.0.1 ssh-rsa BBBB",
        "10.0.0.2 ssh-ed25519 CCCC",
        "[10.0.0.3]:2222 ssh-ed25519 DDDD",
    ]


async def test_machine_that_greets_as_ssh_server_is_not_silent() -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert await ssh.silent([replace(machine("a", "127.0.0.1"), ssh_port=port)], within_s=5) == ()


async def test_machine_where_nobody_listens_is_silent() -> None:
    nodes = [replace(machine("a", "127.0.0.1"), ssh_port=1)]
    assert await ssh.silent(nodes, within_s=0.1) == tuple(nodes)
