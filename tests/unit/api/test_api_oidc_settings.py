"""Settings of an issuer that cannot work keep the api from starting."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from caravan_api.oidc.issuers import Issuers
from caravan_api.settings import Settings
from caravan_shared.plumbing.clock import SystemClock

ISSUER = "https://login.example.org"


def test_an_issuer_that_anybody_could_answer_for_is_refused() -> None:
    with pytest.raises(ValidationError, match="https://"):
        Settings(oidc_issuer="http://login.example.org")


def test_a_missing_authority_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="oidc_ca_file"):
        Settings(oidc_issuer=ISSUER, oidc_ca_file=tmp_path / "none.pem")


def test_an_authority_file_without_certificates_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "authority.pem"
    file.write_text("no certificate")
    with pytest.raises(OSError):
        Issuers.configured(Settings(oidc_issuer=ISSUER, oidc_ca_file=file), SystemClock())
