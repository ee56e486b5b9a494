"""What `caravan backup`, `restore` and `keys` refuse before anything is touched."""

import os
import stat
import tarfile
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from caravan_cli.errors import Conflict
from caravan_cli.main import app
from caravan_cli.private_files import new_private
from caravan_cli.up.claim import Claim
from caravan_cli.up.parts import SERVICES
from caravan_shared.plumbing.sealing import KeyRing


def caravan(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def archive(folder: Path, *names: str) -> Path:
    file = folder / "backup.tar"
    with tarfile.open(file, "w") as tar:
        for name in names:
            (folder / name).write_text("x")
            tar.add(folder / name, name)
    return file


WHOLE = [f"{service}.jsonl.gz" for service in SERVICES]


def test_backup_needs_a_stack_that_was_once_started(tmp_path: Path) -> None:
    done = caravan("backup", tmp_path / "b.tar", "--state-dir", tmp_path / "stack")
    assert done.exit_code == 3
    assert "no local stack was ever started there" in done.stderr.replace("\n", " ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("names", "what"),
    [
        (WHOLE[:-1], "is not what"),
        ([*WHOLE, "more"], "is not what"),
        (WHOLE, "The key ring is not in"),
    ],
)
def test_restore_refuses_a_file_that_is_not_whole_or_lacks_the_key_ring(
    names: list[str], what: str, tmp_path: Path
) -> None:
    done = caravan("restore", archive(tmp_path, *names), "--state-dir", tmp_path / "stack")
    assert done.exit_code == 4
    assert what in done.stderr.replace("\n", " ")
    assert [path.name for path in (tmp_path / "stack").iterdir()] == ["lock"]


def test_restore_refuses_what_is_no_archive_and_what_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no archive")
    assert caravan("restore", tmp_path / "text", "--state-dir", tmp_path / "stack").exit_code == 4
    assert caravan("restore", tmp_path / "none", "--state-dir", tmp_path / "stack").exit_code == 3


def test_restore_refuses_streams_of_another_time(tmp_path: Path) -> None:
    (tmp_path / "stack" / "nats").mkdir(parents=True)
    done = caravan("restore", archive(tmp_path, *WHOLE, "keys.json"), "--state-dir", tmp_path / "stack")
    assert (done.exit_code, "streams of another time" in done.stderr.replace("\n", " ")) == (4, True)


def test_restore_refuses_a_directory_in_use(tmp_path: Path) -> None:
    claim = Claim(tmp_path / "stack")
    claim.take()
    done = caravan("restore", archive(tmp_path, *WHOLE), "--state-dir", tmp_path / "stack")
    claim.give_back()
    assert done.exit_code == 5


def test_rotated_ring_keeps_the_old_key_and_drop_waits_for_the_services(tmp_path: Path) -> None:
    before = KeyRing.load(tmp_path / "keys.json")
    assert caravan("keys", "rotate", "--state-dir", tmp_path).exit_code == 0
    after = KeyRing.load(tmp_path / "keys.json")
    assert after.names > before.names
    assert after.current not in before.names
    assert caravan("keys", "drop", "--state-dir", tmp_path).exit_code == 4
    assert KeyRing.load(tmp_path / "keys.json").names == after.names


def test_keys_without_a_ring_make_none(tmp_path: Path) -> None:
    assert caravan("keys", "rotate", "--state-dir", tmp_path).exit_code == 3
    assert list(tmp_path.iterdir()) == []


def test_new_private_file_is_its_owners_whole_and_in_nobodys_place(tmp_path: Path) -> None:
    with new_private(tmp_path / "a") as draft:
        draft.write_text("1")
        assert not (tmp_path / "a").exists()
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600
    with pytest.raises(Conflict), new_private(tmp_path / "a"):
        pass
    with pytest.raises(ZeroDivisionError), new_private(tmp_path / "b"):
        1 / 0  # noqa: B018  # anything that fails
    assert os.listdir(tmp_path) == ["a"]
