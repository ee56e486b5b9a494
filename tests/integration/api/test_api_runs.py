"""Runs and their logs over REST and on the page, with the bootstrapper's own answers."""

import re
from uuid import uuid4

from caravan_bootstrapper import logs
from caravan_shared.contracts import events as e
from caravan_shared.plumbing.database import Database
from tests.integration.api.browsers import browser
from tests.integration.api.conftest import Stack, fresh
from tests.support.runs import LOG_CHARS, ran


async def test_runs_are_listed_page_by_page_newest_first(stack: Stack, runs: Database) -> None:
    cluster = await stack.create()
    older, newer = [await ran(runs, cluster["id"], "", minutes_ago=minutes) for minutes in (2, 1)]
    path = f"/v1/clusters/{cluster['name']}/runs"
    first = (await stack.http.get(path, params={"limit": 1})).json()
    second = (await stack.http.get(path, params={"limit": 1, "after": first["next"]})).json()
    assert [each["run_id"] for page in (first, second) for each in page["items"]] == [str(newer), str(older)]
    assert (second["next"], second["items"][0]["failure"]) == (None, "a: the <b>disk</b> is full")


async def test_a_log_is_read_from_its_end_back_by_the_links(stack: Stack, runs: Database) -> None:
    cluster = await stack.create()
    text = "".join(f"line {number} ä\n" for number in range(100))
    run = await ran(runs, cluster["id"], text)
    page = await stack.http.get(f"/v1/clusters/{cluster['name']}/runs/{run}/log", params={"limit": 500})
    assert (page.status_code, page.headers["content-type"]) == (200, "text/plain; charset=utf-8")
    assert "next" not in page.links, "it has ended"
    read = page.text
    while previous := page.links.get("prev"):
        page = await stack.http.get(previous["url"])
        read = page.text + read
    assert read == text
    assert (await stack.http.get(f"/v1/clusters/{cluster['id']}/runs/{uuid4()}/log")).status_code == 404


async def test_of_a_run_that_goes_on_the_next_part_is_named(stack: Stack, runs: Database) -> None:
    cluster = await stack.create()
    run = await ran(runs, cluster["id"], "one\n", ended=False)
    page = await stack.http.get(f"/v1/clusters/{cluster['id']}/runs/{run}/log")
    async with runs.transaction() as tx:
        await logs.keep(tx, run, 4, "two\n", LOG_CHARS)
    assert (await stack.http.get(page.links["next"]["url"])).text == "two\n"


async def test_whose_cluster_it_is_not_sees_no_run_of_it(stack: Stack, runs: Database) -> None:
    mine, theirs = await stack.create(), await stack.create()
    run = await ran(runs, theirs["id"], "private\n")
    assert (await stack.http.get(f"/v1/clusters/{mine['id']}/runs/{run}/log")).status_code == 404
    async with stack.client(await stack.token(fresh("web"), fresh("team"), role="owner")) as stranger:
        for path in (f"/v1/clusters/{theirs['id']}/runs", f"/v1/clusters/{theirs['id']}/runs/{run}/log"):
            assert (await stranger.get(path)).status_code == 404


async def test_the_page_offers_the_log_at_the_runs_first_step_and_where_it_failed(stack: Stack, runs: Database) -> None:
    cluster = await stack.create()
    run = await ran(runs, cluster["id"], "TASK [<script>]\n")
    about = {"cluster_id": cluster["id"], "run_id": str(run)}
    steps = [{**e.BootstrapProgress.example, **about, "step": step} for step in ("ensure one", "ensure two")]
    failed = {**e.BootstrapFailed.example, **about, "reason": "the disk is full", "who_can_fix": "operator"}
    await stack.tell(*map(e.BootstrapProgress.model_validate, steps), e.BootstrapFailed.model_validate(failed))
    await stack.phase(cluster, "Failed")
    path = f"/clusters/{cluster['id']}"
    async with browser(stack, await stack.token(fresh("web"), role="viewer")) as viewer:
        page = await viewer.get(path)
        listed = await viewer.get(f"{path}/runs")
        log = await viewer.get(f"{path}/runs/{run}/log")
        middle = await viewer.get(f"{path}/runs/{run}/log", params={"offset": 5, "limit": 3})
    assert len(re.findall(rf'hx-get="{path}/runs/{run}/log"', page.text)) == 2
    assert f'hx-get="{path}/runs/{run}/log"' in listed.text
    assert "the &lt;b&gt;disk&lt;/b&gt; is full" in listed.text
    assert "<pre>TASK [&lt;script&gt;]\n</pre>" in log.text
    assert "<html" not in log.text
    assert f"{path}/runs/{run}/log?offset=0&amp;limit=5" in middle.text


async def test_the_log_of_a_run_that_goes_on_stays_up_to_date(stack: Stack, runs: Database) -> None:
    cluster = await stack.create()
    run = await ran(runs, cluster["id"], "", ended=False)
    async with browser(stack) as admin:
        log = await admin.get(f"/clusters/{cluster['id']}/runs/{run}/log")
    assert f"live:cluster:{cluster['id']} from:body" in log.text
    assert "Nothing was printed yet" in log.text
