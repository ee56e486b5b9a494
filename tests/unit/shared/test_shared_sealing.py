"""Sealed secrets: only the right key, text and place open them; the ring can be rotated."""

import base64
import json
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caravan_shared.contracts.facts import WhoCanFix
from caravan_shared.plumbing.sealing import CannotOpen, KeyRing, RingAway, rotate

KEYS = KeyRing({"k1": b"1" * 32}, "k1")
PLACE = "cluster-1/ca"


@given(text=st.text(), place=st.text())
def test_sealed_text_opens_again(text: str, place: str) -> None:
    assert KEYS.open(KEYS.seal(text, place), place) == text


def test_same_text_is_never_sealed_alike_and_does_not_show() -> None:
    sealed = {KEYS.seal("the secret", PLACE) for _ in range(100)}
    assert len(sealed) == 100
    assert not any("secret" in text or base64.b64encode(b"secret").decode() in text for text in sealed)


def test_sealed_text_does_not_open_in_another_place() -> None:
    with pytest.raises(CannotOpen, match="cluster-2/ca") as error:
        KEYS.open(KEYS.seal("secret", PLACE), "cluster-2/ca")
    assert error.value.who_can_fix is WhoCanFix.OPERATOR


@settings(max_examples=300)
@given(data=st.data())
def test_altered_text_does_not_open(data: st.DataObject) -> None:
    sealed = KEYS.seal("secret", PLACE)
    at = data.draw(st.integers(0, len(sealed) - 1))
    letter = data.draw(st.sampled_from("ABab01-_.=v !ü"))
    action = data.draw(st.sampled_from(["replace", "insert", "cut"]))
    altered = sealed[:at] + ("" if action == "cut" else letter) + sealed[at + (action != "insert") :]
    if _bytes(altered) == _bytes(sealed):
        return
    with pytest.raises(CannotOpen):
        KEYS.open(altered, PLACE)


def _bytes(sealed: str) -> list[bytes]:
    """What a sealed text stands for: base64 has several spellings of the same bytes."""
    head, *parts = sealed.split(".", 1)
    try:
        decoded = [base64.b64decode(part, altchars=b"-_", validate=True) for part in parts[0].split(".")[1:]]
        return [head.encode(), parts[0].split(".")[0].encode(), *decoded]
    except (ValueError, IndexError):
        return [sealed.encode()]


@pytest.mark.parametrize("text", ["", "v1", "v1.k1", "v1.k1.x.y", "v1.k1..", "v2", "a.b.c.d", "v1.k1.AAAA.AAAA.AAAA"])
def test_what_was_never_sealed_does_not_open(text: str) -> None:
    with pytest.raises(CannotOpen):
        KEYS.open(text, PLACE)


def test_parts_of_two_sealed_texts_do_not_open_together() -> None:
    one, two = KEYS.seal("one", PLACE).split("."), KEYS.seal("two", PLACE).split(".")
    with pytest.raises(CannotOpen):
        KEYS.open(".".join([*one[:3], two[3]]), PLACE)


def test_other_format_is_refused_whatever_it_holds() -> None:
    with pytest.raises(CannotOpen):
        KEYS.open(KEYS.seal("secret", PLACE).replace("v1.", "v9.", 1), PLACE)


def test_ring_is_made_once_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "state" / "keys.json"
    sealed = KeyRing.load(path).seal("secret", PLACE)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert KeyRing.load(path).open(sealed, PLACE) == "secret"
    assert [entry.name for entry in path.parent.iterdir()] == ["keys.json"]


def test_services_that_start_together_share_one_ring(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    with ThreadPoolExecutor(16) as pool:
        rings = list(pool.map(lambda _: KeyRing.load(path), range(16)))
    sealed = rings[0].seal("secret", PLACE)
    assert {ring.open(sealed, PLACE) for ring in rings} == {"secret"}


def test_rotation_seals_with_a_new_key_and_still_opens_the_old(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    before = KeyRing.load(path)
    old = before.seal("old", PLACE)
    name = rotate(path)
    after = KeyRing.load(path)
    new = after.seal("new", PLACE)
    assert new.split(".")[1] == name != old.split(".")[1]
    assert (after.open(old, PLACE), after.open(new, PLACE)) == ("old", "new")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_running_service_opens_what_was_sealed_after_a_rotation(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    running = KeyRing.load(path)
    name = rotate(path)
    assert running.open(KeyRing.load(path).seal("new", PLACE), PLACE) == "new"
    assert running.seal("newer", PLACE).split(".")[1] == name


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_text("{"), lambda path: path.write_text("{}")])
def test_ring_whose_file_cannot_be_read_goes_on_with_its_keys(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    ring, path = KeyRing.load(tmp_path / "keys.json"), tmp_path / "keys.json"
    sealed = ring.seal("secret", PLACE)
    spoil(path)
    with pytest.raises(RingAway, match="cannot be read"):
        ring.reload()
    assert ring.open(sealed, PLACE) == "secret"


def test_text_under_a_key_of_another_ring_does_not_open(tmp_path: Path) -> None:
    other = KeyRing.load(tmp_path / "other.json").seal("secret", PLACE)
    with pytest.raises(CannotOpen, match="not on the ring"):
        KeyRing.load(tmp_path / "keys.json").open(other, PLACE)


def test_rotation_can_be_repeated(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    sealed = [KeyRing.load(path).seal("0", PLACE)]
    for number in range(1, 4):
        rotate(path)
        sealed.append(KeyRing.load(path).seal(str(number), PLACE))
    ring = KeyRing.load(path)
    assert [ring.open(text, PLACE) for text in sealed] == ["0", "1", "2", "3"]
    assert len(json.loads(path.read_text())["keys"]) == 4


def test_rotations_at_the_same_time_lose_no_key(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    KeyRing.load(path)
    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(lambda _: rotate(path), range(8)))
    document = json.loads(path.read_text())
    assert set(names) <= set(document["keys"])
    assert len(document["keys"]) == 9
    assert document["current"] in names
    assert [entry.name for entry in tmp_path.iterdir()] == ["keys.json"]
