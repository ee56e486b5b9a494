"""Settings that contradict themselves are refused at start."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from caravan_dns.settings import Settings


@pytest.mark.parametrize(
    "template", ["{name}.{origin}", "{team}.{origin}", "{name}.{team}", "{name}.{team}.{x}.{origin}"]
)
def test_template_that_gives_two_clusters_one_name_or_leaves_the_zone_is_refused(template: str) -> None:
    with pytest.raises(ValidationError, match="endpoint_template"):
        Settings(endpoint_template=template)


def test_rfc2136_without_a_key_is_refused() -> None:
    with pytest.raises(ValidationError, match="rfc2136_key_file"):
        Settings(zone="rfc2136")


def test_no_setting_lets_a_kubeconfig_live_longer_than_eight_hours() -> None:
    with pytest.raises(ValidationError, match="grant_longest_s"):
        Settings(grant_longest_s=8 * 3600 + 1)


@pytest.mark.parametrize("installation", ["", "a,b", 'a"b', "a b", "x" * 65])
def test_installation_that_breaks_the_owner_marker_is_refused(installation: str) -> None:
    with pytest.raises(ValidationError, match="installation"):
        Settings(installation=installation)


def test_names_resolve_only_where_a_zone_is_likely_to_be_delegated() -> None:
    assert not Settings().names_resolve
    assert Settings(zone="rfc2136", rfc2136_key_file=Path("key")).names_resolve
    assert Settings(resolvable=True).names_resolve
