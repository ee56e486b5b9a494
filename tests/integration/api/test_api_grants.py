"""Kubeconfigs, grants and dead letters: what the api asks of others, with a dns that answers by wire."""

from uuid import uuid4

import pytest

from caravan_shared.contracts import events as e
from caravan_shared.contracts.requests import AskKubeconfig, AskRevoke
from tests.integration.api.conftest import Stack, ready_facts
from tests.support.eventually import eventually


async def test_an_issued_kubeconfig_is_recorded_once_and_can_be_revoked(
    stack: Stack, dns: list[AskKubeconfig | AskRevoke]
) -> None:
    cluster = await stack.make_ready(await stack.create())
    path = f"/v1/clusters/{cluster['name']}"
    answer = await stack.http.post(f"{path}/kubeconfig", json={"role": "viewer", "ttl_s": 600})
    issued = answer.json()
    assert (answer.status_code, issued["kubeconfig"]) == (200, "kind: Config")
    assert answer.headers["Cache-Control"] == "no-store"
    request = dns[0]
    assert isinstance(request, AskKubeconfig)
    assert (request.user, request.role, request.ttl_s) == ("admin", "viewer", 600)
    fact = {"cluster_id": cluster["id"], "grant_id": issued["grant_id"], "user": "admin"}
    await stack.tell(
        e.KubeconfigIssued.model_validate({**fact, "role": "viewer", "expires_at": issued["expires_at"]}),
        e.KubeconfigRevoked.model_validate(fact),
    )

    async def revoked() -> bool:
        return any(grant["revoked_at"] for grant in (await stack.http.get(f"{path}/grants")).json()["items"])

    await eventually(revoked)
    grants = (await stack.http.get(f"{path}/grants")).json()["items"]
    assert [(grant["user"], grant["role"]) for grant in grants] == [("admin", "viewer")]
    timeline = (await stack.http.get(f"{path}/timeline")).json()["items"]
    assert len([entry for entry in timeline if entry["kind"] == "access"]) == 2
    assert (await stack.http.delete(f"{path}/grants/{issued['grant_id']}")).status_code == 204
    assert isinstance(dns[-1], AskRevoke)


async def test_who_was_given_access_comes_page_by_page_newest_first(stack: Stack) -> None:
    cluster = await stack.make_ready(await stack.create())
    path, users = f"/v1/clusters/{cluster['id']}/grants", [f"user-{number}" for number in range(5)]
    example = {**e.KubeconfigIssued.example, "cluster_id": cluster["id"]}
    for user in users:
        issued = {"user": user, "grant_id": str(uuid4())}
        await stack.tell(e.KubeconfigIssued.model_validate({**example, **issued}))

    async def listed() -> bool:
        return len((await stack.http.get(path)).json()["items"]) == len(users)

    await eventually(listed)
    seen, after = [], None
    for size in (2, 2, 1):
        page = (await stack.http.get(path, params={"limit": 2, **({"after": after} if after else {})})).json()
        assert len(page["items"]) == size
        seen += [grant["user"] for grant in page["items"]]
        after = page["next"]
    assert (seen, after) == (users[::-1], None)


@pytest.mark.usefixtures("dns")
async def test_what_dns_refuses_is_told_as_it_told_it(stack: Stack) -> None:
    cluster = await stack.make_ready(await stack.create())
    answer = await stack.http.post(f"/v1/clusters/{cluster['id']}/kubeconfig", json={"ttl_s": 8000})
    assert (answer.status_code, answer.json()["detail"]) == (409, "at most two hours here")
    too_long = await stack.http.post(f"/v1/clusters/{cluster['id']}/kubeconfig", json={"ttl_s": 86400})
    assert too_long.status_code == 422


async def test_without_a_control_plane_or_without_dns_a_retry_is_advised(stack: Stack) -> None:
    cluster = await stack.create()
    early = await stack.http.post(f"/v1/clusters/{cluster['id']}/kubeconfig", json={})
    assert (early.status_code, early.json()["retry_helps"]) == (409, True)
    await stack.make_ready(cluster)
    alone = await stack.http.post(f"/v1/clusters/{cluster['id']}/kubeconfig", json={})
    assert (alone.status_code, alone.json()["retry_helps"]) == (503, True)


async def test_poison_is_listed_and_can_be_delivered_again(stack: Stack) -> None:
    bad = b'{"cluster_id": "not an id", "x": "\xff"}'
    good = ready_facts(await stack.create())[0]
    await stack.service.bus.publish("nodes.creating", bad, {"Nats-Msg-Id": str(uuid4())})
    await stack.tell(good)

    async def listed() -> int | None:
        letters = (await stack.http.get("/v1/dead-letters", params={"limit": 500})).json()["items"]
        return next((letter["id"] for letter in letters if letter["body"] == bad.decode(errors="replace")), None)

    letter_id = await eventually(listed)
    replayed = await stack.http.post(f"/v1/dead-letters/{letter_id}/replay")
    assert (replayed.status_code, replayed.json()["subject"]) == (202, "nodes.creating")

    async def back_again() -> bool:
        return (await listed()) not in (None, letter_id)

    await eventually(back_again, saying="it is still poison, so it is put aside again")
