"""A mirror behind a URL is read again only when it changed, and its silence is not its emptiness."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from caravan_bootstrapper.artifacts import Artifacts, ArtifactsIncomplete, MirrorUnreachable
from caravan_shared.contracts.spec import Cni, Network

CATALOGUE = """
patches: [1.34.2]
files: [{name: kubelet, kind: binary, path: kubelet, roles: [worker]}]
"""


class MirrorServer:
    """A web server with one file, which counts how often it sends it."""

    def __init__(self) -> None:
        self.sums: str | None = "aa  kubelet\n"
        self.sent = 0
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        """SHA256SUMS, or that the asker has it already."""
        if self.sums is None or request.path != "/mirror/SHA256SUMS":
            return web.Response(status=404)
        tag = f'"{hash(self.sums)}"'
        if request.headers.get("If-None-Match") == tag:
            return web.Response(status=304)
        self.sent += 1
        return web.Response(text=self.sums, headers={"ETag": tag})


@pytest.fixture
async def server() -> AsyncIterator[MirrorServer]:
    """A mirror's server on loopback."""
    mirror = MirrorServer()
    application = web.Application()
    application.router.add_get("/{path:.*}", mirror.answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    mirror.url = f"http://127.0.0.1:{runner.addresses[0][1]}/mirror"
    yield mirror
    await runner.cleanup()


@pytest.fixture
def playbooks(tmp_path: Path) -> Path:
    """A directory with a small catalogue."""
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts/v1.34.yml").write_text(CATALOGUE)
    return tmp_path


async def kubelet(artifacts: Artifacts) -> dict[str, str]:
    found = await artifacts.for_roles("1.34.2", Network(cni=Cni.NONE))
    return dict(found["worker"]["binaries"][0])


async def test_sums_are_sent_again_only_when_they_changed(server: MirrorServer, playbooks: Path) -> None:
    artifacts = Artifacts(playbooks, f"{server.url}/")
    first = await kubelet(artifacts)
    assert (first["url"], first["sha256"]) == (f"{server.url}/kubelet", "aa")
    assert await kubelet(artifacts) == first
    assert server.sent == 1
    server.sums = "bb  kubelet\n"
    assert (await kubelet(artifacts))["sha256"] == "bb"
    assert server.sent == 2


async def test_server_without_sums_is_no_mirror(server: MirrorServer, playbooks: Path) -> None:
    server.sums = None
    with pytest.raises(ArtifactsIncomplete, match=r"has no SHA256SUMS \(HTTP 404\)"):
        await kubelet(Artifacts(playbooks, server.url))


async def test_silent_server_is_asked_again(playbooks: Path) -> None:
    with pytest.raises(MirrorUnreachable, match="cannot be asked"):
        await kubelet(Artifacts(playbooks, "http://127.0.0.1:1"))
