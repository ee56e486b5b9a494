"""The search for canaries finds a secret in every form in which it could lie somewhere."""

import gzip
import json
from base64 import b64encode
from pathlib import Path

import pytest

from tests.support.canaries import hits

SECRET = "caravan_kQ3-9_xYz/+änd=more"


@pytest.mark.parametrize(
    "content",
    [
        SECRET.encode(),
        json.dumps({"token": SECRET}).encode(),
        b"prefix" + b64encode(SECRET.encode()),
        b64encode(b"a" + SECRET.encode() + b"bc"),
        b64encode(b"ab" + SECRET.encode() + b"c"),
        SECRET.encode().hex().encode(),
        SECRET.encode("utf-16-le"),
    ],
)
def test_each_form_is_found(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "file").write_bytes(b"\0\xff" + content + b"\n")
    assert hits({"token": SECRET}, [tmp_path]) == [f"token in {tmp_path / 'deep' / 'file'}"]
    assert hits({"token": SECRET}, [tmp_path], but=frozenset({"file"})) == []
    assert hits({"token": SECRET[::-1]}, [tmp_path]) == []


def test_what_is_compressed_is_opened(tmp_path: Path) -> None:
    (tmp_path / "api.jsonl.gz").write_bytes(gzip.compress(SECRET.encode()))
    assert hits({"token": SECRET}, [tmp_path]) == [f"token in {tmp_path / 'api.jsonl.gz'}"]
