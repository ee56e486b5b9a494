"""Logs of runs: what is taken out of them, and where a page of one begins."""

import json

import pytest

from caravan_bootstrapper.logs import HIDDEN, Extent, plain, start_of, without_secrets, words_of


def test_no_word_of_a_secret_stays_whichever_way_it_is_quoted() -> None:
    key = "-----BEGIN KEY-----\nMHcCAQEEIBkg5AAAAAAAAAAAAAAAAAAA\nqGSM49AwEHoUQDQgAEBBBBBBBBBBBB==\n-----END KEY-----\n"
    words = words_of([json.dumps({"ca_key": key}), json.dumps([{"token": "abcdef.0123456789abcdef"}])])
    said = f"fatal: {json.dumps(key)} {key} kubeadm join --token abcdef.0123456789abcdef"
    told = without_secrets(said, words)
    for secret in ("MHcCAQEEIBkg5AAAAAAAAAAAAAAAAAAA", "qGSM49AwEHoUQDQgAEBBBBBBBBBBBB==", "abcdef.0123456789abcdef"):
        assert secret not in told
    assert told.endswith(f"kubeadm join --token {HIDDEN}")


def test_a_secret_that_holds_another_is_hidden_whole() -> None:
    assert without_secrets("a" * 20 + "b" * 20, words_of(["a" * 20, "a" * 20 + "b" * 20])) == HIDDEN


def test_colours_and_what_no_database_takes_are_left_out() -> None:
    assert plain("\x1b[0;31mfatal\x1b[0m:\x00 one\r\n\ttwo \ud800\x9b") == "fatal: one\n\ttwo ?"


@pytest.mark.parametrize(
    ("offset", "start"),
    [(None, 200), (0, 50), (60, 60), (10_000, 300)],
    ids=["the end", "too early", "there", "beyond"],
)
def test_a_page_begins_within_what_is_kept(offset: int | None, start: int) -> None:
    assert start_of(Extent(first=50, end=300), offset, 100) == start


def test_a_log_that_is_shorter_than_a_page_begins_at_its_beginning() -> None:
    assert start_of(Extent(first=0, end=30), None, 100) == 0
