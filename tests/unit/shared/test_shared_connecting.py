"""Who we are to NATS servers that only a cluster tells us of."""

import pytest

from caravan_shared.plumbing.connecting import servers


def test_user_and_password_are_for_every_server() -> None:
    bare, we = servers("nats://caravan:s%2Fcret@nats:4222,tls://caravan:s%2Fcret@nats-2:4222")
    assert bare == ["nats://nats:4222", "tls://nats-2:4222"]
    assert we is not None
    assert (we.username, we.password) == ("caravan", "s%2Fcret")


@pytest.mark.parametrize(
    "url",
    ["nats://nats:4222", "nats://token@nats:4222", "nats://a:1@nats:4222,nats://b:2@nats-2:4222"],
    ids=["nobody", "a token", "not the same"],
)
def test_urls_of_nobody_and_of_several_are_left_as_they_are(url: str) -> None:
    assert servers(url) == (url.split(","), None)
