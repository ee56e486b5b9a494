"""kubeadm's texts, user-data, YAML and protobuf: what is read from them, and what is refused."""

import base64

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from caravan_sandbox.kube.protobuf import MAGIC, UnreadableProtobuf, decode
from caravan_sandbox.kubeadm import KubeadmConfigError, duration_s, parse_init, parse_join
from caravan_sandbox.userdata import UserDataError, join_config
from caravan_sandbox.yamltext import load_all
from tests.support.authority import TOKEN, Authority

AUTHORITY = Authority()


def test_init_is_read_whole() -> None:
    config = parse_init(AUTHORITY.init_config("cp-1"))
    assert (config.version, config.endpoint, config.registration.name) == ("1.34.2", AUTHORITY.endpoint, "cp-1")
    assert [(token.token_id, token.secret, token.ttl_s) for token in config.tokens] == [(*TOKEN.split("."), 3600.0)]
    assert config.service_cidr == "10.96.0.0/16"


def test_join_reads_labels_and_taints() -> None:
    args = [{"name": "node-labels", "value": "a=b,example.com/c=d"}]
    taint = {"key": "k", "value": "v", "effect": "NoSchedule"}
    config = parse_join(AUTHORITY.join_config(name="w-1", kubeletExtraArgs=args, taints=[taint]))
    assert config.registration.labels == {"a": "b", "example.com/c": "d"}
    assert config.registration.taints == (taint,)
    assert (config.control_plane, config.ca_hashes) == (False, (AUTHORITY.ca_hash,))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("abcdef.0123456789abcdef", "nonsense"), "has to look like"),
        (("v1beta4", "v1beta3"), "is not kubeadm.k8s.io/v1beta4"),
        (("caCertHashes", "caCertHash"), "caCertHashes is missing"),
        (("apiServerEndpoint", "endpoint"), "apiServerEndpoint is missing"),
        (("JoinConfiguration", "Join"), "JoinConfiguration document is missing"),
        (("discovery:", "discovery: ["), "not YAML"),
    ],
)
def test_join_that_kubeadm_would_refuse_is_refused(change: tuple[str, str], complaint: str) -> None:
    with pytest.raises(KubeadmConfigError, match=complaint):
        parse_join(AUTHORITY.join_config().replace(*change))


@pytest.mark.parametrize(("text", "seconds"), [("24h0m0s", 86400.0), ("1h30m", 5400.0), ("250ms", 0.25), ("0", 0.0)])
def test_go_durations(text: str, seconds: float) -> None:
    assert duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "1d", "5", "h", "1h x"])
def test_what_is_no_go_duration_is_refused(text: str) -> None:
    with pytest.raises(KubeadmConfigError):
        duration_s(text)


def test_yaml_timestamps_stay_texts() -> None:
    assert load_all("at: 2026-01-31T12:00:00Z") == [{"at": "2026-01-31T12:00:00Z"}]


def test_user_data_leads_to_its_join_configuration() -> None:
    assert join_config(AUTHORITY.user_data()) == AUTHORITY.join_config()


def test_user_data_may_encode_its_file_and_wrap_its_command() -> None:
    content = base64.b64encode(b"join").decode()
    files = [{"path": "/j.yaml", "content": content, "encoding": "b64"}]
    config = {"write_files": files, "runcmd": ["echo hello", ["sh", "-c", "kubeadm join --config /j.yaml"]]}
    assert join_config("#cloud-config\n" + yaml.safe_dump(config)) == "join"


def test_user_data_without_join_joins_nothing() -> None:
    assert join_config("#cloud-config\nruncmd: [echo hello]\n") is None


@pytest.mark.parametrize(
    "text",
    [
        "#!/bin/sh\n",
        "#cloud-config\n[",
        "#cloud-config\nruncmd: [kubeadm join --config /a]\n",
        "#cloud-config\nruncmd: [kubeadm join]\n",
    ],
)
def test_user_data_that_can_not_work_says_so(text: str) -> None:
    with pytest.raises(UserDataError):
        join_config(text)


def _field(number: int, value: bytes) -> bytes:
    assert len(value) < 128
    return bytes([number << 3 | 2, len(value)]) + value


def test_protobuf_of_an_access_review_reads_like_its_json() -> None:
    attributes = _field(2, b"delete") + _field(3, b"") + _field(5, b"nodes")
    review = _field(2, _field(1, attributes))
    types = _field(1, b"authorization.k8s.io/v1") + _field(2, b"SelfSubjectAccessReview")
    body = MAGIC + _field(1, types) + _field(2, review)
    assert decode(body) == {"spec": {"resourceAttributes": {"verb": "delete", "resource": "nodes"}}}


@given(st.binary(max_size=60))
@settings(max_examples=300)
def test_bytes_that_name_no_known_kind_are_unreadable(data: bytes) -> None:
    with pytest.raises(UnreadableProtobuf):
        decode(MAGIC + data)
