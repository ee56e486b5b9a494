"""The service at work on a real nats-server: names and credentials follow the facts."""

import random
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from sqlalchemy import delete
from sqlmodel import select

from caravan_dns.store import Cluster, Grant, Node, PkiPart, ZoneRecord, ZoneSerial
from caravan_shared.contracts.events import EndpointFailed, EndpointIssued, EndpointWithdrawn
from caravan_shared.contracts.facts import WhoCanFix
from caravan_shared.contracts.requests import AskClientCertificate, AskClusterPki, ClientCertificate, ClusterPki
from caravan_shared.contracts.states import Verdict
from caravan_shared.plumbing.errors import GiveUp, Retry
from caravan_shared.plumbing.service import Service
from tests.integration.dns.conftest import Around, Dns, Subject, Told, authority
from tests.support.bind9 import KEY_NAME, SECRET, Bind9, named
from tests.support.eventually import eventually


async def test_name_and_authority_are_there_before_any_machine(
    dns: Dns, around: Around, cluster: Subject, told: Told
) -> None:
    await around.say(cluster.requested())
    issued = await told.until(EndpointIssued, cluster)
    assert (issued.host, issued.port) == (cluster.host, dns.settings.apiserver_port)
    assert (issued.addresses, issued.zone, issued.resolvable) == ((), "embedded", False)
    pki = await around.ask(AskClusterPki(cluster_id=cluster.id), ClusterPki)
    assert pki.ca_cert == issued.ca_certificate
    assert pki.endpoint == f"{issued.host}:{issued.port}"
    await eventually(lambda: dns.server.texts(cluster.host, "TXT"))


async def test_endpoint_follows_the_control_plane(dns: Dns, around: Around, cluster: Subject, told: Told) -> None:
    await around.say(cluster.requested())
    await around.say(cluster.ready(n1="10.0.0.1", n2="10.0.0.2", n3="10.0.0.3"))
    await around.say(cluster.started(1, "10.0.0.1"))
    await told.addresses(cluster, "10.0.0.1")
    assert await dns.server.texts(cluster.host, "A") == {"10.0.0.1"}
    await around.say(cluster.joined(1, 2, 3))
    await told.addresses(cluster, "10.0.0.1", "10.0.0.2", "10.0.0.3")
    await around.say(cluster.leaving(2))
    await told.addresses(cluster, "10.0.0.1", "10.0.0.3")
    await around.say(cluster.health(Verdict.UNREACHABLE, 1))
    await told.addresses(cluster, "10.0.0.3")
    assert await dns.server.texts(cluster.host, "A") == {"10.0.0.3"}
    await around.say(cluster.health(Verdict.UNREACHABLE, 3))
    await told.addresses(cluster, "10.0.0.1", "10.0.0.3")
    await around.say(cluster.health(Verdict.HEALTHY, 1))
    await told.addresses(cluster, "10.0.0.1")


async def test_name_is_at_the_virtual_ip_from_the_beginning_and_stays_there(
    dns: Dns, around: Around, cluster: Subject, told: Told
) -> None:
    await around.say(cluster.requested(virtual_ip="10.0.0.250"))
    issued = await told.until(EndpointIssued, cluster)
    assert (issued.virtual_ip, issued.addresses) == ("10.0.0.250", ())
    await eventually(lambda: dns.server.texts(cluster.host, "A"))
    await around.say(cluster.started(1, "10.0.0.1"))
    await around.say(cluster.ready(n1="10.0.0.1", n2="10.0.0.2"))
    await around.say(cluster.joined(1, 2))
    assert (await told.addresses(cluster, "10.0.0.1", "10.0.0.2")).virtual_ip == "10.0.0.250"
    await around.say(cluster.health(Verdict.UNREACHABLE, 1))
    await told.addresses(cluster, "10.0.0.2")
    assert await dns.server.texts(cluster.host, "A") == {"10.0.0.250"}
    await around.say(cluster.deletion_requested())
    await told.until(EndpointWithdrawn, cluster)
    assert await dns.server.texts(cluster.host, "A") == set()


async def test_name_is_at_the_clouds_load_balancer_and_moves_with_it(
    dns: Dns, around: Around, cluster: Subject, told: Told
) -> None:
    await around.say(cluster.requested())
    await around.say(cluster.ready(n1="10.0.0.1", balanced_at="10.0.0.100"))
    await eventually(lambda: dns.server.texts(cluster.host, "A"))
    assert await dns.server.texts(cluster.host, "A") == {"10.0.0.100"}, "kubeadm dials the name as soon as it starts"
    await around.say(cluster.started(1, "10.0.0.1"))
    await around.say(cluster.requested(announcement=2))
    assert (await told.addresses(cluster, "10.0.0.1")).virtual_ip == "10.0.0.100"

    await around.say(cluster.ready(n1="10.0.0.1", balanced_at="10.0.0.200"))  # somebody deleted it; there is another

    async def moved() -> bool:
        return await dns.server.texts(cluster.host, "A") == {"10.0.0.200"}

    await eventually(moved)
    assert (await told.until(EndpointIssued, cluster, lambda told: told.virtual_ip == "10.0.0.200")).addresses


@pytest.mark.parametrize("seed", range(5))
async def test_facts_doubled_and_in_any_order_end_in_the_same_endpoint(
    around: Around, told: Told, cluster: Subject, seed: int
) -> None:
    facts = [
        cluster.requested(),
        cluster.ready(n1="10.0.0.1", n2="10.0.0.2", n3="10.0.0.3", n4="10.0.0.4"),
        cluster.started(1, "10.0.0.1"),
        cluster.joined(1, 2, 3, 4),
        cluster.leaving(4),
        cluster.health(Verdict.UNREACHABLE, 2, 3),
        cluster.health(Verdict.HEALTHY, 2),
    ]
    told_twice = list(enumerate(facts, 1)) * 2
    random.Random(seed).shuffle(told_twice)
    for sequence, fact in told_twice:
        await around.say(fact, sequence=sequence)
    await told.addresses(cluster, "10.0.0.1", "10.0.0.2")


async def test_record_that_somebody_deleted_comes_back(
    dns: Dns, around: Around, cluster: Subject, told: Told, service: Service
) -> None:
    await around.say(cluster.requested())
    await around.say(cluster.started(1, "10.0.0.1"))
    await told.addresses(cluster, "10.0.0.1")
    async with service.db.transaction() as tx:
        await tx.exec(delete(ZoneRecord))
        (await tx.get_one(ZoneSerial, "caravan.test")).serial += 1
    await eventually(lambda: dns.server.texts(cluster.host, "A"))


async def test_higher_announcement_has_everything_said_again(around: Around, cluster: Subject, told: Told) -> None:
    await around.say(cluster.requested())
    await around.say(cluster.started(1, "10.0.0.1"))
    issued = await told.addresses(cluster, "10.0.0.1")
    before = len(await told.of(EndpointIssued, cluster))
    await around.say(cluster.requested(announcement=2))
    await eventually(lambda: _count(told, cluster, before + 1))
    assert (await told.of(EndpointIssued, cluster))[-1] == issued


async def test_restart_keeps_the_authority_and_says_nothing_new(dns: Dns, around: Around, cluster: Subject) -> None:
    async with dns.running() as service:
        await around.say(cluster.requested())
        issued = await Told(service).until(EndpointIssued, cluster)
        before = await around.ask(AskClusterPki(cluster_id=cluster.id), ClusterPki)
    async with dns.running() as service:
        assert await eventually(lambda: dns.server.texts(cluster.host, "TXT"))
        assert await around.ask(AskClusterPki(cluster_id=cluster.id), ClusterPki) == before
        assert await Told(service).of(EndpointIssued, cluster) == [issued]


async def test_deletion_withdraws_the_name_and_erases_the_keys(
    dns: Dns, around: Around, cluster: Subject, told: Told, service: Service
) -> None:
    await around.say(cluster.requested())
    await around.say(cluster.started(1, "10.0.0.1"))
    await told.addresses(cluster, "10.0.0.1")
    await around.say(cluster.deletion_requested())
    await told.until(EndpointWithdrawn, cluster)
    assert await dns.server.texts(cluster.host, "A") == set()
    with pytest.raises(GiveUp, match="deleted"):
        await around.ask(AskClusterPki(cluster_id=cluster.id), ClusterPki)
    await around.say(cluster.deleted())
    await eventually(lambda: _nothing_left(service, cluster))
    await around.say(cluster.requested(announcement=9))
    await around.say(cluster.deletion_requested(announcement=2))
    await around.say(cluster.ready(n1="10.0.0.1"))
    with pytest.raises(GiveUp, match="deleted"):
        await around.ask(AskClusterPki(cluster_id=cluster.id), ClusterPki)
    assert await _nothing_left(service, cluster)


async def test_deletion_told_again_is_answered_again(around: Around, cluster: Subject, told: Told) -> None:
    await around.say(cluster.deletion_requested())
    await told.until(EndpointWithdrawn, cluster)
    await around.say(cluster.deletion_requested(announcement=2))
    await eventually(lambda: _withdrawals(told, cluster, 2))


async def test_deleted_that_overtakes_the_deletion_leaves_no_record(
    dns: Dns, around: Around, cluster: Subject, told: Told
) -> None:
    await around.say(cluster.requested())
    await around.say(cluster.started(1, "10.0.0.1"))
    await told.addresses(cluster, "10.0.0.1")
    await around.say(cluster.deleted())
    await told.until(EndpointWithdrawn, cluster)
    assert await dns.server.texts(cluster.host, "A") == set()


async def test_foreign_record_is_a_failure_that_ends_when_somebody_removes_it(
    around: Around, cluster: Subject, told: Told, service: Service
) -> None:
    async with service.db.transaction() as tx:
        tx.add(ZoneRecord(name=cluster.host, addresses=["10.9.9.9"], ttl=5, owner="v=somebody"))
    await around.say(cluster.requested())
    failed = await told.until(EndpointFailed, cluster)
    assert cluster.host in failed.reason
    assert failed.who_can_fix is WhoCanFix.OPERATOR
    issued = len(await told.of(EndpointIssued, cluster))
    async with service.db.transaction() as tx:
        await tx.exec(delete(ZoneRecord))
    await eventually(lambda: _count(told, cluster, issued + 1))
    assert len(await told.of(EndpointFailed, cluster)) == 1


async def test_question_about_an_unknown_cluster_is_asked_again_later(
    around: Around, cluster: Subject, service: Service
) -> None:
    with pytest.raises(Retry, match="not made yet"):
        await around.ask(AskClusterPki(cluster_id=cluster.id), ClusterPki)


@pytest.mark.parametrize("purpose", ["health", "bootstrapper"])
async def test_own_services_get_a_short_lived_certificate_of_their_own_group(
    around: Around, cluster: Subject, told: Told, purpose: str, service: Service
) -> None:
    await around.say(cluster.requested())
    issued = await told.until(EndpointIssued, cluster)
    answer = await around.ask(AskClientCertificate(cluster_id=cluster.id, purpose=purpose), ClientCertificate)
    certificate = x509.load_pem_x509_certificate(answer.cert.encode())
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(issued.ca_certificate.encode()))
    (group,) = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    assert group.value == f"caravan:{purpose}"
    assert certificate.not_valid_after_utc == answer.not_after
    assert (answer.not_after - service.clock.now()).total_seconds() <= 4 * 3600


async def test_cilium_gets_a_certificate_of_the_etcd_authority_under_a_name_of_its_own(
    around: Around, cluster: Subject, told: Told
) -> None:
    await around.say(cluster.requested())
    await told.until(EndpointIssued, cluster)
    pki = await around.ask(AskClusterPki(cluster_id=cluster.id), ClusterPki)
    answer = await around.ask(AskClientCertificate(cluster_id=cluster.id, purpose="cilium-etcd"), ClientCertificate)
    certificate = x509.load_pem_x509_certificate(answer.cert.encode())
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(pki.etcd_ca_cert.encode()))
    assert answer.ca_cert == pki.etcd_ca_cert
    (name,) = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert name.value == "cilium-etcd-client"


async def test_no_key_is_readable_in_the_store_or_the_log(
    dns: Dns, around: Around, cluster: Subject, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level("DEBUG")
    async with dns.running() as service:
        await around.say(cluster.requested())
        await Told(service).until(EndpointIssued, cluster)
        pki = await around.ask(AskClusterPki(cluster_id=cluster.id), ClusterPki)
    written = (
        b"".join(path.read_bytes() for path in _store_files(dns))
        + "".join((caplog.text, *capsys.readouterr())).encode()
    )
    assert pki.ca_cert.splitlines()[1].encode() in written
    for pem in (pki.ca_key, pki.etcd_ca_key, pki.front_proxy_ca_key, pki.service_account_key):
        assert pem.splitlines()[1].encode() not in written
    assert b"PRIVATE KEY" not in written


@pytest.mark.skipif(named() is None, reason="bind9's `named` is not installed: `apt-get install bind9`")
async def test_zone_server_that_is_down_delays_the_endpoint_and_nothing_else(
    dns: Dns, around: Around, cluster: Subject, tmp_path: Path
) -> None:
    bind9, key_file = Bind9(tmp_path), tmp_path / "tsig.secret"
    key_file.write_text(SECRET + "\n")
    zone = {
        "zone": "rfc2136",
        "rfc2136_port": bind9.port,
        "rfc2136_key_name": KEY_NAME,
        "rfc2136_key_file": key_file,
    }
    async with dns.running(**zone) as service:
        await around.say(cluster.requested())
        await around.say(cluster.started(1, "10.0.0.1"))
        await eventually(lambda: authority(around, cluster))
        bind9.start()
        issued = await Told(service).addresses(cluster, "10.0.0.1")
        assert (issued.zone, issued.resolvable) == ("rfc2136", True)
        bind9.stop()


async def _count(told: Told, cluster: Subject, at_least: int) -> bool:
    return len(await told.of(EndpointIssued, cluster)) >= at_least


async def _withdrawals(told: Told, cluster: Subject, at_least: int) -> bool:
    return len(await told.of(EndpointWithdrawn, cluster)) >= at_least


async def _nothing_left(service: Service, cluster: Subject) -> bool:
    async with service.db.reading() as session:
        rows = [
            row
            for table in (PkiPart, Grant, Node)
            for row in (await session.exec(select(table).where(table.cluster_id == cluster.id))).all()
        ]
        tombstone = await session.get(Cluster, cluster.id)
    return not rows and bool(tombstone and tombstone.deleted_at)


def _store_files(dns: Dns) -> list[Path]:
    return [path for path in dns.settings.state_dir.glob("dns.db*") if path.is_file()]
