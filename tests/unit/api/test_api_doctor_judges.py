"""An installation is judged by what its parts say: what is broken, what will be, whose hands it is in."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from caravan_api.decide.doctor import (
    Asked,
    Consumer,
    Expiring,
    Nats,
    is_well,
    of_cloud,
    of_expiring,
    of_nats,
    of_services,
)
from caravan_shared.contracts.facts import Finding, FindingLevel
from caravan_shared.contracts.requests import CloudCheck, Wellbeing

NOW = datetime(2026, 1, 1, tzinfo=UTC)
OK, WARNING, FATAL = FindingLevel.OK, FindingLevel.WARNING, FindingLevel.FATAL


def replica(service: str = "dns", instance: str = "a", **said: Any) -> Wellbeing:
    well = {"version": "1.0", "now": NOW, "migration": "0004", "newest_migration": "0004"}
    disk = {"disk_free_bytes": 50, "disk_total_bytes": 100}
    return Wellbeing(service=service, instance=instance, **{**well, **disk, **said})


def judged(*answers: Wellbeing, expected: tuple[str, ...] = ("dns",)) -> list[Finding]:
    return list(of_services(expected, Asked(NOW - timedelta(seconds=1), NOW + timedelta(seconds=1), answers)))


def test_service_with_its_replicas_is_well() -> None:
    [finding] = judged(replica(instance="a"), replica(instance="b"))
    assert (finding.about, finding.level, finding.says) == ("dns", OK, "2 replicas, version 1.0")


def test_service_that_nobody_answers_for_is_fatal() -> None:
    findings = judged(replica(), expected=("dns", "health"))
    assert [(each.about, each.level) for each in findings] == [("dns", OK), ("health", FATAL)]
    assert not is_well(findings)


@pytest.mark.parametrize(
    ("said", "level", "says"),
    [
        ({"store_problem": "it does not answer: OSError"}, FATAL, "its store: it does not answer"),
        ({"migration": "0003"}, FATAL, "its store is at migration 0003, it knows 0004"),
        ({"migration": "0005"}, WARNING, "its store is at migration 0005, it knows 0004 and does without"),
        ({"stuck": ("dns-nodes-ready",)}, FATAL, "dns-nodes-ready"),
        ({"unsent_for_s": 61}, FATAL, "its events have not left for 61 s"),
        ({"now": NOW + timedelta(seconds=4)}, WARNING, "its clock differs by 3 s"),
        ({"now": NOW - timedelta(seconds=40)}, FATAL, "its clock differs by 39 s"),
        ({"disk_free_bytes": 5}, WARNING, "5% is free"),
        ({"disk_free_bytes": 1}, FATAL, "1% is free"),
    ],
)
def test_replica_in_trouble_is_named_with_what_to_mend(said: dict[str, Any], level: FindingLevel, says: str) -> None:
    [finding] = judged(replica(instance="a"), replica(instance="b", **said))
    assert "dns (b)" in finding.about
    assert (finding.level, bool(finding.mend)) == (level, True)
    assert says in finding.says


def test_answer_from_within_the_time_of_asking_is_no_skew() -> None:
    assert [each.level for each in judged(replica(now=NOW - timedelta(seconds=1)))] == [OK]


def test_versions_side_by_side_are_a_warning() -> None:
    findings = judged(replica(), replica("health", version="1.1"), expected=("dns", "health"))
    assert findings[-1].says == "1.0, 1.1 run side by side"
    assert is_well(findings)


def test_what_a_service_finds_itself_is_told_as_its_own() -> None:
    own = Finding(about="authority of cluster 7", level=WARNING, says="it ends soon", mend="Move.")
    [finding] = judged(replica(findings=(own,)))
    assert (finding.about, finding.level) == ("dns: authority of cluster 7", WARNING)


def test_events_that_nobody_listens_to_and_dead_letters_are_warnings() -> None:
    consumers = (Consumer("a", 3, is_listened_to=False), Consumer("b", 9, True), Consumer("c", 0, False))
    findings = list(of_nats(Nats(streams=3, consumers=consumers, dead_letters=2, bytes_used=0, bytes_most=-1)))
    wrong = [each for each in findings if each.level is not OK]
    assert [(each.about, each.level) for each in wrong] == [("subscription a", WARNING), ("dead letters", WARNING)]


def test_full_jetstream_is_fatal_and_one_without_a_limit_is_not() -> None:
    def levels(most: int) -> list[FindingLevel]:
        return [each.level for each in of_nats(Nats(1, (), 0, bytes_used=99, bytes_most=most))]

    assert FATAL in levels(100)
    assert FATAL not in levels(-1)


def test_cloud_tells_what_is_wrong_with_it_and_nothing_else() -> None:
    full = Finding(about="quota", level=FATAL, says="10 of 10", mend="Have it raised.")
    fine = Finding(about="api", level=OK, says="it answers")
    [wrong] = of_cloud(CloudCheck(cloud="lab", kind="sandbox", findings=(fine, full)))
    assert (wrong.about, wrong.level) == ("cloud lab: quota", FATAL)
    [well] = of_cloud(CloudCheck(cloud="lab", kind="sandbox", findings=(fine,)))
    assert (well.about, well.level) == ("cloud lab", OK)


def test_what_expires_is_named_soonest_first_and_counted_beyond_five() -> None:
    ending = [Expiring(f"t{day}", NOW + timedelta(days=day)) for day in range(8, 0, -1)]
    [finding] = of_expiring("tokens", ending, NOW, "Give out new ones.")
    assert finding.level is WARNING
    assert finding.says == (
        "about to expire: t1 (2026-01-02), t2 (2026-01-03), t3 (2026-01-04), t4 (2026-01-05), t5 (2026-01-06), 3 more"
    )
    assert next(of_expiring("tokens", [Expiring("old", NOW)], NOW, "")).level is FATAL
    assert next(of_expiring("tokens", [Expiring("far", NOW + timedelta(days=90))], NOW, "")).level is OK
