"""A machine waits for its cluster's signature as long as it takes, over HTTPS, and says why."""

import asyncio
import sys
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from caravan_bootstrapper import kubeadm
from caravan_bootstrapper.settings import Settings
from caravan_shared.contracts.spec import NodeSet, Role
from tests.support.authority import TOKEN
from tests.support.tls import Authority

SIGNED = f"jws-kubeconfig-{TOKEN.partition('.')[0]}"


class Apiserver:
    """One that starts slowly: each answer is another one."""

    def __init__(self) -> None:
        self.endpoint = ""
        self.answers = [
            web.json_response({"kind": "Status", "code": 404}, status=404),
            web.Response(text="a proxy's page"),
            web.json_response({"data": {"kubeconfig": "text"}}),
            web.json_response({"data": {"kubeconfig": "text", "jws-kubeconfig-others": "text"}}),
            web.json_response({"data": {"kubeconfig": "text", SIGNED: "text"}}),
        ]

    async def answer(self, request: web.Request) -> web.Response:
        """The next one."""
        assert request.path == "/api/v1/namespaces/kube-public/configmaps/cluster-info"
        return self.answers.pop(0)


@pytest.fixture
async def apiserver() -> AsyncIterator[Apiserver]:
    """On loopback, with a certificate that the machine does not know."""
    made, application = Apiserver(), web.Application()
    application.router.add_get("/{path:.*}", made.answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=Authority().server_context(insists=False)).start()
    made.endpoint = f"127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


async def test_machine_waits_until_cluster_info_is_signed_for_its_token(apiserver: Apiserver) -> None:
    playbooks = Settings.model_fields["playbooks_dir"].default
    workers = NodeSet(name="workers", role=Role.WORKER, count=1, machine_type="medium")
    joins = kubeadm.join(playbooks, workers, kubeadm.Discovery(apiserver.endpoint, TOKEN, "sha256:00"), machines=1)
    *at, _ = joins.arguments
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", joins.program, *at, "0.01", stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    assert process.returncode == 0
    reasons = [line.partition(" lets nobody in yet: ")[2] for line in said.decode().splitlines()]
    assert reasons[0] == "HTTP Error 404: Not Found"
    assert reasons[-1] == "its cluster-info is not signed for our token"
    assert not apiserver.answers
