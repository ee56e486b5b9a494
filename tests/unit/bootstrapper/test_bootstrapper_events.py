"""Ansible's events, read into steps and into one sentence about a failure; and node lists, read into versions."""

from typing import Any

from caravan_bootstrapper.events import LONGEST_REASON, EventReader, last_line
from caravan_bootstrapper.members import versions_in


def reader() -> tuple[EventReader, list[tuple[str, int]]]:
    steps: list[tuple[str, int]] = []
    return EventReader(lambda step, number: steps.append((step, number))), steps


def task(name: str) -> dict[str, Any]:
    return {"event": "playbook_on_task_start", "event_data": {"name": name}}


def failed(host: str, name: str, **result: Any) -> dict[str, Any]:
    return {"event": "runner_on_failed", "event_data": {"host": host, "task": name, "res": result}}


def test_steps_are_told_without_their_role_and_once() -> None:
    reads, steps = reader()
    for name in ("sandbox : Ensure etcd runs", "sandbox : Ensure etcd runs", "Validating arguments", "Ensure more"):
        reads.read(task(name))
    assert steps == [("ensure etcd runs", 1), ("ensure more", 2)]


def test_nothing_failed_means_no_sentence() -> None:
    reads, _ = reader()
    reads.read({"event": "verbose"})
    assert reads.sentence() is None


def test_sentence_names_the_first_host_and_counts_the_others() -> None:
    reads, _ = reader()
    reads.read(failed("a", "Ensure it", msg="disk full"))
    reads.read(failed("b", "Ensure it", msg="disk full"))
    assert reads.sentence() == "a (and 1 more): failed to ensure it: disk full"


def test_reason_that_no_log_hid_comes_from_the_rescue_and_the_task_does_not() -> None:
    reads, _ = reader()
    reads.read(failed("a", "Ensure it", censored="hidden"))
    reads.read(failed("a", "Ensure the reason is told", msg="token expired"))
    assert reads.sentence() == "a: failed to ensure it: token expired"


def test_unreachable_host_is_told_as_such() -> None:
    reads, _ = reader()
    reads.read({"event": "runner_on_unreachable", "event_data": {"host": "a", "res": {"msg": "powered off"}}})
    assert reads.sentence() == "a cannot be reached: powered off"


def test_every_host_that_failed_has_a_sentence_of_its_own() -> None:
    reads, _ = reader()
    reads.read({"event": "runner_on_unreachable", "event_data": {"host": "c", "res": {"msg": "powered off"}}})
    reads.read(failed("a", "Ensure it", msg="disk full"))
    assert reads.by_host() == {"a": "a: failed to ensure it: disk full", "c": "c cannot be reached: powered off"}
    assert reads.sentence() == "a (and 1 more): failed to ensure it: disk full"


def test_ignored_failure_is_none() -> None:
    reads, _ = reader()
    event = failed("a", "Ensure it", msg="no")
    event["event_data"]["ignore_errors"] = True
    reads.read(event)
    assert reads.sentence() is None


def test_reason_has_no_colours_and_an_end() -> None:
    reads, _ = reader()
    reads.read(failed("a", "Ensure it", msg="\x1b[31m" + "x" * 10_000))
    sentence = reads.sentence()
    assert sentence
    assert len(sentence) < LONGEST_REASON + 50
    assert "\x1b" not in sentence


def test_last_line_of_ansibles_output_is_its_last_word() -> None:
    assert last_line("one\n\x1b[0;31mERROR! no\x1b[0m\n\n") == "ERROR! no"
    assert last_line("") == "Ansible ended without a word"


def test_versions_are_read_from_a_table_whatever_the_order_of_its_columns() -> None:
    table = {
        "kind": "Table",
        "columnDefinitions": [{"name": "Version"}, {"name": "Status"}, {"name": "Name"}],
        "rows": [{"cells": ["v1.34.2", "Ready", "a"]}, {"cells": ["v1.34.1", "NotReady", "b"]}],
    }
    assert versions_in(table) == {"a": "1.34.2", "b": "1.34.1"}


def test_build_metadata_of_a_version_is_left_out_and_what_is_none_counts_as_the_oldest() -> None:
    def of(version: str) -> dict[str, Any]:
        return {"metadata": {"name": "a"}, "status": {"nodeInfo": {"kubeletVersion": version}}}

    assert versions_in({"items": [of("v1.34.2+build.5")]}) == {"a": "1.34.2"}
    assert versions_in({"items": [of("unknown")]}) == {"a": "0.0.0"}


def test_versions_are_read_from_a_node_list_too() -> None:
    node = {"metadata": {"name": "a"}, "status": {"nodeInfo": {"kubeletVersion": "v1.34.2"}}}
    assert versions_in({"kind": "NodeList", "items": [node]}) == {"a": "1.34.2"}
    assert versions_in({"kind": "NodeList", "items": None}) == {}


def test_another_host_key_is_told_in_one_sentence() -> None:
    shouted = "@@@@\r\n@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\r\nHost key verification failed."
    for message in (shouted, "Host key verification failed."):
        reads, _ = reader()
        reads.read({"event": "runner_on_unreachable", "event_data": {"host": "a", "res": {"msg": message}}})
        assert reads.by_host() == {
            "a": "a cannot be reached: its SSH host key is not the one that was told; another machine may stand in its "
            "place"
        }
