"""How the address of a BMC is read: as operators know it from Metal3 and Ironic, and nothing that hides anything."""

import pytest
from pydantic import ValidationError

from caravan_shared.contracts.bmc import Bmc, BmcPlace

ONE = "/redfish/v1/Systems/1"


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("bmc7.rack1.example.com", BmcPlace("https://bmc7.rack1.example.com", None)),
        ("10.9.0.7", BmcPlace("https://10.9.0.7", None)),
        ("10.9.0.7:8443", BmcPlace("https://10.9.0.7:8443", None)),
        ("fd00::7", BmcPlace("https://[fd00::7]", None)),
        ("https://[fd00::7]:8443", BmcPlace("https://[fd00::7]:8443", None)),
        ("https://10.9.0.7/", BmcPlace("https://10.9.0.7", None)),
        ("https://10.9.0.7/redfish/v1", BmcPlace("https://10.9.0.7", None)),
        ("https://10.9.0.7/redfish/v1/Systems/", BmcPlace("https://10.9.0.7", None)),
        (f"redfish://10.9.0.7{ONE}", BmcPlace("https://10.9.0.7", ONE)),
        (f"redfish+https://10.9.0.7{ONE}/", BmcPlace("https://10.9.0.7", ONE)),
    ],
)
def test_address_names_a_host_and_perhaps_a_system(address: str, place: BmcPlace) -> None:
    assert Bmc(address=address).place() == place


@pytest.mark.parametrize(("system", "path"), [("1", ONE), (ONE, ONE), ("a:b", "/redfish/v1/Systems/a%3Ab")])
def test_system_is_an_id_or_a_path(system: str, path: str) -> None:
    assert Bmc(address="10.9.0.7", system=system).place().system == path


@pytest.mark.parametrize(
    "address",
    [
        "http://10.9.0.7",
        "redfish+http://10.9.0.7",
        "ipmi://10.9.0.7",
        "https://operator:secret@10.9.0.7",
        "10.9.0.7 ",
        "",
        "-o.example.com",
    ],
)
def test_what_is_no_address_of_redfish_over_https_is_refused(address: str) -> None:
    with pytest.raises(ValidationError):
        Bmc(address=address)


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ({"address": "10.9.0.7:http"}, "Port could not"),
        ({"address": "10.9.0.7:70000"}, "Port out of range"),
        ({"address": "a:b:c"}, "a:b:c"),
        ({"address": "https://10.9.0.7/?x=1"}, "more than a host"),
        ({"address": "https://10.9.0.7/admin"}, "is no system"),
        ({"address": f"https://10.9.0.7{ONE}", "system": "2"}, "names a system already"),
    ],
)
def test_address_that_earlier_releases_took_in_is_read_only_when_it_is_needed(told: dict[str, str], says: str) -> None:
    bmc = Bmc.model_validate(told)
    with pytest.raises(ValueError, match=says):
        bmc.place()


def test_fingerprint_is_that_of_openssl_and_is_not_given_where_nothing_is_verified() -> None:
    colons = ":".join(["AB"] * 32)
    for fingerprint in (colons, "ab" * 32):
        assert Bmc(address="10.9.0.7", fingerprint=fingerprint).fingerprint == fingerprint
    for wrong in ("ab" * 20, "xy" * 32, "sha256:" + "ab" * 32):
        with pytest.raises(ValidationError):
            Bmc(address="10.9.0.7", fingerprint=wrong)
    with pytest.raises(ValidationError, match="one of the two"):
        Bmc(address="10.9.0.7", fingerprint=colons, disable_certificate_verification=True)


def test_store_keeps_nothing_that_the_release_before_would_not_know() -> None:
    assert Bmc(address="10.9.0.7", user="operator").kept() == {"address": "10.9.0.7", "user": "operator"}
