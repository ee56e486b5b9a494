"""The page of a cluster and the form that asks for one, over HTTP: what they show, whom they let do what."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import event

from caravan_api.decide.nodes import NodeState
from caravan_api.store import Node
from caravan_shared.contracts import events as e
from tests.integration.api.browsers import OWN_PAGE, browser
from tests.integration.api.conftest import Stack, fresh

FORM = {
    "version": "1.34.2",
    "cloud": "sandbox",
    "control_plane.count": "1",
    "control_plane.machine_type": "medium",
    "workers.0.name": "workers",
    "workers.0.count": "2",
    "workers.0.machine_type": "large",
}
ACTIONS = {
    "scale": {"node_set": "workers", "count": "3"},
    "upgrade": {"version": "1.35.1"},
    "pause": {"paused": "true"},
    "hibernate": {},
    "wake": {},
    "replace": {"node": "x"},
    "retry": {},
    "lifetime": {"hours": "8"},
    "delete": {"confirm": "x"},
    "revoke": {"grant": "7e57ab1e-0000-4000-8000-000000000000"},
}


async def test_the_page_shows_nodes_conditions_steps_and_events(stack: Stack) -> None:
    cluster = await stack.make_ready(await stack.create())
    async with browser(stack) as admin:
        page = await admin.get(f"/clusters/{cluster['id']}")
        by_name = await admin.get(f"/clusters/{cluster['name']}")
    assert page.status_code == by_name.status_code == 200
    nodes = re.findall(r'<tr id="node-([\w-]+)"', page.text)
    assert nodes == sorted(f"{cluster['name']}-{name}" for name in ("control-plane-0", "workers-0", "workers-1"))
    for told in (
        "Machines run",
        "Endpoint answers",
        "asked for the cluster: 3 nodes",
        "etcd: 1 member, 1 must answer, none may fail",
        "m-" + nodes[0],
        "data-chart=",
    ):
        assert told in page.text, told


async def test_many_nodes_come_page_by_page_and_are_narrowed(stack: Stack) -> None:
    cluster = await stack.make_ready(
        await stack.create(workers=[{"name": "many", "count": 60}, {"name": "few", "count": 1}])
    )
    path = f"/clusters/{cluster['id']}"
    async with browser(stack) as admin:
        first = await admin.get(path)
        cursor = re.findall(r"nodes_after=([^&\"#]+)", first.text)[0]
        second = await admin.get(f"{path}?nodes_after={cursor}")
        few = await admin.get(path, params={"node_set": "few", "state": ""})
    shown = [re.findall(r'<tr id="node-([\w-]+)"', page.text) for page in (first, second, few)]
    assert [len(names) for names in shown] == [50, 12, 1]
    assert not set(shown[0]) & set(shown[1])


async def test_what_is_done_on_the_page_is_done(stack: Stack) -> None:
    cluster = await stack.make_ready(await stack.create())
    path = f"/clusters/{cluster['id']}"
    async with browser(stack) as admin:
        for action, sent in {**ACTIONS, "replace": {"node": f"{cluster['name']}-workers-0"}}.items():
            if action in ("delete", "revoke", "hibernate", "wake"):  # tested by themselves
                continue
            answer = await admin.post(f"{path}/{action}", data=sent, headers=OWN_PAGE)
            assert answer.status_code == 204, (action, answer.text)
            assert "caravan:toast" in answer.headers["hx-trigger"]
        found = await stack.get(cluster)
        wrong = await admin.post(f"{path}/delete", data={"confirm": "other"}, headers=OWN_PAGE)
        assert (wrong.status_code, "is not its name" in wrong.text) == (422, True)
        assert (await stack.get(cluster))["phase"] != "Deleting"
        done = await admin.post(f"{path}/delete", data={"confirm": cluster["name"]}, headers=OWN_PAGE)
        assert done.status_code == 204
    assert found["spec"]["workers"][0]["count"] == 3
    assert found["spec"]["version"] == "1.35.1"
    assert found["spec"]["paused"] is True
    assert found["replacing"] == [f"{cluster['name']}-workers-0"]
    assert found["expires_at"] is not None
    assert (await stack.get(cluster))["phase"] == "Deleting"


async def test_a_ready_cluster_is_put_to_sleep_and_woken_where_its_cloud_can(stack: Stack) -> None:
    cluster = await stack.make_ready(await stack.create())
    path = f"/clusters/{cluster['id']}"
    async with browser(stack) as admin:
        awake = await admin.get(path)
        slept = await admin.post(f"{path}/hibernate", headers=OWN_PAGE)
        asleep = await admin.get(path)
        woken = await admin.post(f"{path}/wake", headers=OWN_PAGE)
    assert (f"{path}/hibernate" in awake.text, f"{path}/wake" in awake.text) == (True, False)
    assert (slept.status_code, woken.status_code) == (204, 204), slept.text
    assert (f"{path}/hibernate" in asleep.text, f"{path}/wake" in asleep.text) == (False, True)
    assert (await stack.get(cluster))["phase"] == "Waking"


async def test_a_kubeconfig_is_a_file_and_its_access_is_listed_until_taken_back(stack: Stack, dns: list[Any]) -> None:
    cluster = await stack.make_ready(await stack.create())
    path = f"/clusters/{cluster['id']}"
    async with browser(stack) as admin:
        file = await admin.post(f"{path}/kubeconfig", data={"role": "editor", "hours": "2"}, headers=OWN_PAGE)
        page = await admin.get(path)
        grant = re.findall(r'<tr id="grant-([\w-]+)"', page.text)[0]
        taken = await admin.post(f"{path}/revoke", data={"grant": grant}, headers=OWN_PAGE)
    assert (file.status_code, file.text) == (200, "kind: Config")
    assert file.headers["content-disposition"] == f'attachment; filename="{cluster["name"]}.kubeconfig"'
    assert file.headers["cache-control"] == "no-store"
    assert taken.status_code == 204
    assert [str(asked.grant_id) for asked in dns[1:]] == [grant]


async def test_who_may_only_look_sees_no_controls_and_is_refused_when_forging_them(stack: Stack) -> None:
    cluster = await stack.make_ready(await stack.create())
    path = f"/clusters/{cluster['id']}"
    async with browser(stack, await stack.token(fresh("web"), role="viewer")) as viewer:
        page = await viewer.get(path)
        assert page.status_code == 200
        for control in ("open-delete", "open-upgrade", "/replace", "open-scale", "New cluster"):
            assert control not in page.text, control
        assert "open-kubeconfig" in page.text
        for action, sent in ACTIONS.items():
            answer = await viewer.post(f"{path}/{action}", data=sent, headers=OWN_PAGE)
            assert answer.status_code == 403, action
        forged = await viewer.post(f"{path}/kubeconfig", data={"role": "admin"}, headers=OWN_PAGE)
        assert forged.status_code == 403
        for answer in (
            await viewer.get("/clusters/new"),
            await viewer.post("/clusters/new", data=FORM, headers=OWN_PAGE),
        ):
            assert answer.status_code == 403
    assert (await stack.get(cluster))["etag"] == cluster["etag"]


async def test_of_1019_nodes_a_page_reads_and_shows_as_many_as_of_fifty(stack: Stack) -> None:
    sizes = []
    async with browser(stack) as admin:
        for count in (50, 1019):
            cluster = await stack.create()
            async with stack.service.db.transaction() as tx:
                tx.add_all(_node(cluster, number) for number in range(count))
            with _nodes_read() as read:
                page = await admin.get(f"/clusters/{cluster['id']}")
            sizes.append(len(page.text))
            assert len(re.findall(r'<tr id="node-w-', page.text)) == 50
            assert len(read) <= 51, "one more than is shown, to know that there are more"
        following = re.findall(r'href="([^"]*nodes_after=[^"#]*)#nodes"', page.text)
        second = await admin.get(following[0].replace("&amp;", "&"))
    assert sizes[1] < 1.05 * sizes[0]
    assert re.findall(r'<tr id="node-(w-\d+)"', second.text)[0] == "w-0050"


@contextmanager
def _nodes_read() -> Iterator[list[Node]]:
    """Every node that is read from the store meanwhile."""
    read: list[Node] = []

    def note(node: Node, _context: object) -> None:
        read.append(node)

    event.listen(Node, "load", note)
    yield read
    event.remove(Node, "load", note)


def _node(cluster: dict[str, Any], number: int) -> Node:
    told: dict[str, Any] = {"state": NodeState.JOINED, "machine": "Ready", "changed_at": datetime.now(UTC)}
    return Node(cluster_id=UUID(cluster["id"]), name=f"w-{number:04d}", node_set="workers", **told)


async def test_another_teams_cluster_is_not_there(stack: Stack) -> None:
    cluster = await stack.create()
    async with browser(stack, await stack.token(fresh("web"), fresh("team"), role="owner")) as stranger:
        assert (await stranger.get(f"/clusters/{cluster['id']}")).status_code == 404
        answer = await stranger.post(
            f"/clusters/{cluster['id']}/delete", data={"confirm": cluster["name"]}, headers=OWN_PAGE
        )
        assert answer.status_code == 404


async def test_without_access_in_its_scopes_a_session_sees_and_gets_none(stack: Stack) -> None:
    cluster = await stack.make_ready(await stack.create())
    token = await stack.token(fresh("web"), role="owner", scopes=["clusters"])
    async with browser(stack, token) as limited:
        page = await limited.get(f"/clusters/{cluster['id']}")
        answer = await limited.post(f"/clusters/{cluster['id']}/kubeconfig", headers=OWN_PAGE)
    assert page.status_code == 200
    assert "Who was given access" not in page.text
    assert "open-kubeconfig" not in page.text
    assert answer.status_code == 403


async def test_a_failed_cluster_says_why_and_can_be_tried_again(stack: Stack) -> None:
    cluster = await stack.create()
    failed = e.BootstrapFailed.model_validate(
        {
            **e.BootstrapFailed.example,
            "cluster_id": cluster["id"],
            "reason": "<b>no disk</b>",
            "who_can_fix": "operator",
        }
    )
    await stack.tell(failed)
    await stack.phase(cluster, "Failed")
    async with browser(stack) as admin:
        page = await admin.get(f"/clusters/{cluster['id']}")
    assert "&lt;b&gt;no disk&lt;/b&gt;" in page.text
    assert "Those who run Caravan can fix this." in page.text
    assert f"/clusters/{cluster['id']}/retry" in page.text


async def test_the_form_proposes_a_cluster_and_plans_it(stack: Stack) -> None:
    async with browser(stack) as admin:
        page = await admin.get("/clusters/new")
    assert page.status_code == 200
    assert "3 nodes, ready in about" in page.text
    assert "caravan cluster create demo --version 1.35.1" in page.text
    clouds = (await stack.http.get("/v1/clouds")).json()["items"]
    (proposed,) = [cloud for cloud in clouds if f'value="{cloud["cloud"]}" selected' in page.text]
    for machine in proposed["machine_types"]:
        assert f'value="{machine["name"]}"' in page.text, "the machines that the cloud offers"


async def test_rows_come_and_go_and_the_yaml_says_what_is_asked_for(stack: Stack) -> None:
    async with browser(stack) as admin:
        more = await admin.get("/clusters/new", params={**FORM, "add": "workers"})
        less = await admin.get("/clusters/new", params={**FORM, "workers.1.name": "gpu", "remove": "workers.0"})
    assert 'value="workers-2"' in more.text
    assert "--workers workers-2=1" in more.text
    assert "- name: gpu" in less.text
    assert "- name: workers" not in less.text


@pytest.mark.parametrize(
    ("field", "text", "told"),
    [
        ("name", "No Name", "is not a DNS label"),
        ("control_plane.count", "2", "odd"),
        ("workers.0.count", "many", "whole number"),
        ("network.pod_cidr", "10.0.0.0/99", "address range"),
        ("lifetime_h", "inf", "number of hours"),
    ],
)
async def test_what_is_wrong_is_told_at_its_field(stack: Stack, field: str, text: str, told: str) -> None:
    async with browser(stack) as admin:
        page = await admin.get("/clusters/new", params={**FORM, "name": "fine", field: text})
    assert page.status_code == 200
    where = page.text.split(f'id="{field}-problem"')[1].split("</div>")[0]
    assert told in where, where


async def test_asking_leads_to_the_cluster_and_a_refusal_back_to_the_form(stack: Stack) -> None:
    name = fresh()
    async with browser(stack) as admin:
        made = await admin.post("/clusters/new", data={**FORM, "name": name, "lifetime_h": "8"}, headers=OWN_PAGE)
        page = await admin.get(made.headers["hx-redirect"])
        again = await admin.post("/clusters/new", data={**FORM, "name": name}, headers=OWN_PAGE)
    assert made.status_code == 204
    assert name in page.text
    assert "7 h 59 min left" in page.text or "8 h left" in page.text
    assert again.status_code == 200
    assert "has a cluster named" in again.text.split('id="name-problem"')[1].split("</div>")[0]


async def test_what_is_no_field_of_the_form_is_not_asked_for(stack: Stack) -> None:
    async with browser(stack) as admin:
        page = await admin.get(
            "/clusters/new", params={**FORM, "oidc.issuer_url": "https://x", "workers.99999.name": "x"}
        )
    assert page.status_code == 200
    assert "oidc" not in page.text.split('id="told"')[1]
