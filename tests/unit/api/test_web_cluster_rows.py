"""The rows of the list of clusters: what they say, what they escape, and that 1,000 of them stay small."""

import zlib
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from caravan_api.doors.web.screens.cluster_rows import Row, Shown, drawn, sketched

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
MOST_BYTES = 300_000
"""Of a page with 1,000 clusters, as it is sent."""


def row(number: int = 1, **more: Any) -> Row:
    verdicts = [
        {"verdict": verdict, "since": (NOW - timedelta(hours=hours + number % 3)).isoformat()}
        for verdict, hours in (("Healthy", 30), ("Degraded", 9), ("Healthy", 5))
    ]
    fields: dict[str, Any] = {
        "name": f"cluster-{number}",
        "team": "builds",
        "phase": "Ready",
        "verdict": "Healthy",
        "verdicts": verdicts,
        "version": "1.34.2",
        "cloud": "sandbox",
        "nodes_wanted": 3,
        "accessed_at": NOW - timedelta(minutes=number),
        "accessed_by": "alice",
        "created_at": NOW - timedelta(hours=number),
        "node_sets": [{"ready": 2}, {"failed": 1}],
        "pool_id": None,
        "expires_at": None,
        **more,
    }
    return Row(sketched(Shown(id=UUID(int=number), **fields)), leased_until=NOW + timedelta(hours=3))


def test_a_row_tells_how_a_cluster_is() -> None:
    told = str(drawn([row()], NOW, "?team=builds", with_team=True))
    for part in (
        f'<a href="/clusters/{UUID(int=1)}?team=builds">cluster-1</a>',
        "<td>builds",
        "status-green",
        '<td class="text-red">2<i>/3</i>',
        "alice",
        '<span title="2026-05-01 11:59:00 UTC">1 min ago</span>',
        "3 h left",
        '<span title="2026-05-01 11:00:00 UTC">1 h ago</span>',
    ):
        assert part in told, part
    assert "<td>builds" not in drawn([row()], NOW, "", with_team=False)


def test_what_people_chose_is_escaped() -> None:
    odd = '<i onclick="x">&'
    told = str(drawn([row(accessed_by=odd, version=odd, cloud=odd, phase=odd)], NOW, '?team="', with_team=True))
    assert "<i onclick" not in told
    assert '?team="' not in told


def test_a_thousand_rows_stay_small() -> None:
    told = drawn([row(number) for number in range(1000)], NOW, "", with_team=True)
    assert told.count("<tr ") == 1000
    assert len(zlib.compress(told.encode(), 4)) < MOST_BYTES
