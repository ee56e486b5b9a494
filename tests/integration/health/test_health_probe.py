"""One look at a real TLS server that behaves in every way there is."""

import asyncio
import contextlib
import os
import resource
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest

from caravan_health.observation import Kind
from caravan_health.probe import Prober, client_context, open_door
from tests.integration.health.conftest import Apiserver
from tests.support.ports import free_port
from tests.support.tls import Authority

TIMEOUT_S = 0.4


@pytest.fixture
async def prober() -> AsyncIterator[Prober]:
    async with Prober(timeout_s=TIMEOUT_S, nodes_timeout_s=2.0) as prober:
        yield prober


@pytest.mark.parametrize(
    ("habit", "kind"),
    [
        ("well", Kind.OK),
        ("hangs", Kind.TIMEOUT),
        ("trickles", Kind.TIMEOUT),
        ("babbles", Kind.GARBAGE),
        ("hangs up", Kind.REFUSED),
        ("speaks no HTTP", Kind.GARBAGE),
        ("redirects", Kind.REDIRECT),
        ("greets", Kind.GARBAGE),
        ("fails", Kind.SERVER_ERROR),
        ("etcd down", Kind.COMPONENT_NOT_READY),
        ("refuses us", Kind.AUTH),
    ],
)
async def test_each_habit_is_told_apart(apiserver: Apiserver, prober: Prober, habit: str, kind: Kind) -> None:
    apiserver.habit = habit
    seen = await prober.ready(open_door(apiserver.target(), apiserver.authority.for_health()))
    assert seen.kind is kind, seen


async def test_connection_is_used_again(apiserver: Apiserver, prober: Prober) -> None:
    door = open_door(apiserver.target(), apiserver.authority.for_health())
    for _ in range(5):
        assert (await prober.ready(door)).kind is Kind.OK
    assert len(apiserver._writers) == 1


async def test_restarted_apiserver_is_well_at_once(apiserver: Apiserver, prober: Prober) -> None:
    door = open_door(apiserver.target(), apiserver.authority.for_health())
    assert (await prober.ready(door)).kind is Kind.OK
    await apiserver.stop()
    assert (await prober.ready(door)).kind is Kind.REFUSED
    await apiserver.restart()
    assert (await prober.ready(door)).kind is Kind.OK


async def test_certificate_of_another_ca_is_a_tls_fault(apiserver: Apiserver, prober: Prober) -> None:
    stranger = replace(apiserver.target(), ca_certificate=Authority().ca_cert)
    assert (await prober.ready(open_door(stranger, None))).kind is Kind.TLS


async def test_certificate_for_another_name_is_a_tls_fault(apiserver: Apiserver, prober: Prober) -> None:
    elsewhere = replace(apiserver.target(), host="other.default.caravan.test")
    assert (await prober.ready(open_door(elsewhere, apiserver.authority.for_health()))).kind is Kind.TLS


async def test_plain_http_is_a_tls_fault(authority: Authority, prober: Prober) -> None:
    server = Apiserver(authority)
    await server.start(None)
    assert (await prober.ready(open_door(server.target(), None))).kind in (Kind.TLS, Kind.TIMEOUT)
    await server.stop()


@pytest.fixture
def strict_port(authority: Authority) -> Iterator[int]:
    """A server that sends TLS alerts before it hangs up, as kube-apiservers do; asyncio's own does not send them."""
    context = authority.server_context()

    def serve(listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                plain, _ = listener.accept()
                with context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False) as secure:
                    with contextlib.suppress(OSError):
                        secure.do_handshake()
                        secure.read()
                    os.read(secure.fileno(), 65536)  # closing with unread data would reset the alert away

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


@pytest.mark.parametrize("presented", ["nothing", "another CA's"])
async def test_alert_about_our_certificate_is_our_trouble(
    authority: Authority, strict_port: int, prober: Prober, presented: str
) -> None:
    certificate = None if presented == "nothing" else Authority().for_health()
    seen = await prober.ready(open_door(Apiserver(authority, port=strict_port).target(), certificate))
    assert seen.kind is Kind.AUTH, seen


async def test_closed_port_is_refused(authority: Authority, prober: Prober) -> None:
    server = Apiserver(authority, port=free_port())
    assert (await prober.ready(open_door(server.target(), None))).kind is Kind.REFUSED


async def test_unknown_name_is_a_dns_fault(apiserver: Apiserver, prober: Prober) -> None:
    nameless = replace(apiserver.target(), addresses=(), host="no-such-host.invalid")
    seen = await prober.ready(open_door(nameless, None))
    assert seen.kind in (Kind.DNS, Kind.MONITOR_UNFIT), seen  # the latter where the host has no resolver at all


@pytest.mark.parametrize("dead", ["127.0.0.3", "127.0.0.4"])
async def test_next_address_is_asked_when_one_is_dead_and_stays_in_front(
    apiserver: Apiserver, prober: Prober, dead: str
) -> None:
    hung = Apiserver(apiserver.authority, habit="hangs", address="127.0.0.4", port=apiserver.port)
    await hung.restart()
    door = open_door(apiserver.target(dead, apiserver.address), apiserver.authority.for_health())
    assert (await prober.ready(door)).kind is Kind.OK
    assert door.bases[0].host == apiserver.address
    await hung.stop()


async def test_cluster_is_a_miss_only_when_no_address_answers(apiserver: Apiserver, prober: Prober) -> None:
    started = asyncio.get_running_loop().time()
    door = open_door(apiserver.target("127.0.0.3", "127.0.0.5"), apiserver.authority.for_health())
    assert (await prober.ready(door)).kind is Kind.REFUSED
    assert asyncio.get_running_loop().time() - started < TIMEOUT_S * 1.5


async def test_nodes_are_listed_with_their_conditions(apiserver: Apiserver, prober: Prober) -> None:
    apiserver.nodes["w-2"] = {"Ready": "Unknown"}
    listed = await prober.nodes(open_door(apiserver.target(), apiserver.authority.for_health()))
    assert listed.failure is None
    assert [(node.name, node.ready) for node in listed.readings] == [("w-1", True), ("w-2", False)]
    assert apiserver.asked[-1] == "/api/v1/nodes?limit=500&resourceVersion=0"


@pytest.mark.parametrize(
    ("habit", "kind"), [("fails", Kind.SERVER_ERROR), ("greets", Kind.GARBAGE), ("hangs", Kind.TIMEOUT)]
)
async def test_failing_list_of_nodes_is_told_apart(apiserver: Apiserver, habit: str, kind: Kind) -> None:
    apiserver.habit = habit
    async with Prober(timeout_s=TIMEOUT_S, nodes_timeout_s=0.2) as prober:
        listed = await prober.nodes(open_door(apiserver.target(), apiserver.authority.for_health()))
    assert listed.failure is not None
    assert listed.failure.kind is kind


@pytest.fixture
def no_files_left() -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = os.dup(0)
    os.close(highest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest, limits[1]))
    held = []
    with contextlib.suppress(OSError):
        while True:
            held.append(os.dup(0))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    for number in held:
        os.close(number)


async def test_lack_of_file_descriptors_is_the_monitors_trouble(
    apiserver: Apiserver, prober: Prober, request: pytest.FixtureRequest
) -> None:
    door = open_door(apiserver.target(), apiserver.authority.for_health())
    request.getfixturevalue("no_files_left")
    seen = await prober.ready(door)
    assert (seen.kind, seen.detail) == (Kind.MONITOR_UNFIT, "no file descriptors left")


def test_key_of_a_client_certificate_touches_no_disk(authority: Authority, tmp_path: object) -> None:
    before = len(os.listdir("/tmp"))
    client_context(authority.ca_cert, authority.for_health())
    assert len(os.listdir("/tmp")) == before


async def test_virtual_ip_is_asked_beside_the_control_planes_and_its_silence_is_told(
    apiserver: Apiserver, prober: Prober
) -> None:
    certificate = apiserver.authority.for_health()
    answering = open_door(apiserver.target(virtual_ip=apiserver.address), certificate)
    assert (await prober.ready(answering)).detail == ""
    silent = await prober.ready(open_door(apiserver.target(virtual_ip="127.99.99.99"), certificate))
    assert silent.kind is Kind.OK
    assert silent.detail.startswith("nobody answers at its virtual IP 127.99.99.99: ")
    await apiserver.stop()
    assert (await prober.ready(answering)).kind is Kind.REFUSED
