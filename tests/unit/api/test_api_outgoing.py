"""Messages go to the hosts that the operator named, and nowhere else."""

import pytest

from caravan_api.outgoing import Outgoing, Undelivered
from tests.support.clock import ManualClock

OUTGOING = Outgoing(["hooks.slack.com", "chat.example.org:8443", "127.0.0.1:9999"], ManualClock())


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.slack.com/services/T/B/x",
        "https://HOOKS.slack.com/x",
        "https://hooks.slack.com:443/x",
        "https://chat.example.org:8443/hooks/x",
        "http://127.0.0.1:9999/x",
    ],
)
def test_listed_hosts_are_written_to(url: str) -> None:
    assert OUTGOING.problem(url) is None


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.slack.com/x",
        "https://hooks.slack.com:8080/x",
        "https://chat.example.org/x",
        "https://hooks.slack.com.evil.test/x",
        "https://evil.test/hooks.slack.com",
        "https://hooks.slack.com@evil.test/x",
        "https://me:secret@hooks.slack.com/x",
        "https://hooks.slack.com\\@evil.test/x",
        "http://127.0.0.1:8780/v1/whoami",
        "http://169.254.169.254/latest/meta-data",
        "https://[::1]/x",
        "https://[::1/x",
        "https://hooks.slack.com:port/x",
        "file:///etc/passwd",
        "gopher://hooks.slack.com/x",
        "//hooks.slack.com/x",
        "",
        "\x00",
    ],
)
async def test_nothing_is_sent_elsewhere(url: str) -> None:
    assert OUTGOING.problem(url)
    with pytest.raises(Undelivered, match="nothing is sent") as refused:
        await OUTGOING.post(url, {})
    assert refused.value.for_good
