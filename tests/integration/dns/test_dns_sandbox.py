"""Grants on a cluster that kubeadm made from our authority, judged by an apiserver that evaluates RBAC."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from kubernetes.aio import client, config

from caravan_dns.settings import Settings
from caravan_sandbox.app import Sandbox
from caravan_shared.contracts.requests import (
    AskClusterPki,
    AskKubeconfig,
    AskRevoke,
    ClusterPki,
    Kubeconfig,
    Revoked,
)
from caravan_shared.plumbing.service import Service
from tests.integration.dns.conftest import Subject, Told
from tests.support.authority import VERSION, Authority
from tests.support.eventually import eventually
from tests.support.sandbox import CloudClient, sandbox_settings


@pytest.fixture
async def made(service: Service, told: Told, cluster: Subject, tmp_path: Path) -> AsyncIterator[Subject]:
    """The cluster, with one control plane that was initialised with the authority that dns made."""
    assert isinstance(service.settings, Settings)
    await cluster.around.say(cluster.requested())
    async with (
        Sandbox(sandbox_settings(tmp_path / "sandbox")).running() as sandbox,
        aiohttp.ClientSession() as http,
    ):
        cloud, node = CloudClient(sandbox.url, http), cluster.node(1).name
        await cloud.create(node)
        machine = await eventually(lambda: _active(cloud, node))
        await cluster.around.say(cluster.started(1, machine["address"]))
        await told.addresses(cluster, machine["address"])
        pki = (await cluster.around.ask(AskClusterPki(cluster_id=cluster.id), ClusterPki)).model_dump()
        texts = Authority(host=cluster.host, port=service.settings.apiserver_port)
        await cloud.run(machine["id"], "install", version=VERSION)
        await cloud.run(machine["id"], "kubeadm-init", config=texts.init_config(node), pki=pki)
        yield cluster


@asynccontextmanager
async def granted(cluster: Subject, role: str) -> AsyncIterator[tuple[Kubeconfig, Any]]:
    """A grant, and the cluster as its holder sees it."""
    request = AskKubeconfig(cluster_id=cluster.id, user="alice", role=role, ttl_s=60)
    grant = await cluster.around.ask(request, Kubeconfig)
    async with await config.new_client_from_config_dict(yaml.safe_load(grant.kubeconfig)) as api:
        yield grant, client.CoreV1Api(api)


async def test_admin_sees_the_nodes(made: Subject) -> None:
    async with granted(made, "admin") as (_, core):
        nodes = await core.list_node(_request_timeout=5)
    assert [node.metadata.name for node in nodes.items] == [made.node(1).name]


async def test_viewer_may_read_and_not_write(made: Subject) -> None:
    async with granted(made, "viewer") as (_, core):
        await core.list_namespaced_pod("default", _request_timeout=5)
        with pytest.raises(client.ApiException) as refused:
            await core.create_namespace({"metadata": {"name": "mine"}}, _request_timeout=5)
    assert refused.value.status == 403


async def test_revoked_grant_opens_nothing_at_once(made: Subject) -> None:
    async with granted(made, "admin") as (grant, core):
        await core.list_node(_request_timeout=5)
        await made.around.ask(AskRevoke(cluster_id=made.id, grant_id=grant.grant_id), Revoked)
        with pytest.raises(client.ApiException) as refused:
            await core.list_node(_request_timeout=5)
    assert refused.value.status == 403


async def _active(cloud: CloudClient, name: str) -> dict[str, str] | None:
    machine = (await cloud.machines())[name]
    return machine if machine["state"] == "active" else None
