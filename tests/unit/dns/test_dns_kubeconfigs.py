"""Kubeconfigs that kubernetes' own client reads, whoever they are for."""

from base64 import b64decode
from datetime import UTC, datetime, timedelta

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from kubernetes.client import Configuration
from kubernetes.config import load_kube_config_from_dict

from caravan_dns.authority import KeyPair, Subject, make_pki, sign_client
from caravan_dns.kubeconfigs import Endpoint, render

NOW = datetime.now(UTC)
PKI = make_pki(NOW)
CLIENT, _ = sign_client(PKI.ca, Subject("alice", "caravan:grant:1"), NOW, timedelta(hours=1))
UNRESOLVABLE = Endpoint("demo.default.caravan.test", 6443, ("127.64.0.1", "127.64.0.2"), resolvable=False)


def configured(endpoint: Endpoint) -> Configuration:
    configuration = Configuration()
    text = render("demo", "alice", endpoint, PKI.ca.public, CLIENT)
    load_kube_config_from_dict(yaml.safe_load(text), client_configuration=configuration)
    return configuration


def test_resolvable_name_is_dialled_by_name() -> None:
    configuration = configured(Endpoint("demo.default.example.org", 6443, (), resolvable=True))
    assert configuration.host == "https://demo.default.example.org:6443"
    assert configuration.tls_server_name is None


def test_unresolvable_name_is_dialled_by_address_and_checked_by_name() -> None:
    configuration = configured(UNRESOLVABLE)
    assert configuration.host == "https://127.64.0.1:6443"
    assert configuration.tls_server_name == "demo.default.caravan.test"


def test_ipv6_address_is_bracketed() -> None:
    assert configured(Endpoint("demo.x", 6443, ("fd00::1",), resolvable=False)).host == "https://[fd00::1]:6443"


def test_kubernetes_client_finds_certificates_and_key_inline() -> None:
    configuration = configured(UNRESOLVABLE)
    for path, pem in (
        (configuration.ssl_ca_cert, PKI.ca.public),
        (configuration.cert_file, CLIENT.public),
        (configuration.key_file, CLIENT.key),
    ):
        assert path
        with open(path) as file:
            assert file.read() == pem


@settings(max_examples=100)
@given(cluster=st.text(max_size=40), user=st.text(max_size=80))
def test_hostile_names_stay_data(cluster: str, user: str) -> None:
    document = yaml.safe_load(render(cluster, user, UNRESOLVABLE, PKI.ca.public, KeyPair("public", "key")))
    assert document["users"][0]["name"] == document["contexts"][0]["context"]["user"] == user
    assert document["clusters"][0]["name"] == document["current-context"] == cluster
    assert set(document["users"][0]["user"]) == {"client-certificate-data", "client-key-data"}
    assert b64decode(document["users"][0]["user"]["client-key-data"]) == b"key"


def test_virtual_ip_is_what_someone_outside_dials_and_control_planes_what_we_dial() -> None:
    endpoint = Endpoint("demo.x", 6443, ("10.0.0.1", "10.0.0.2"), resolvable=False, virtual_ip="10.0.0.250")
    configuration = configured(endpoint)
    assert (configuration.host, configuration.tls_server_name) == ("https://10.0.0.250:6443", "demo.x")
    assert endpoint.urls() == ["https://10.0.0.1:6443", "https://10.0.0.2:6443"]
