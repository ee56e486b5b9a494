"""What Slack and Mattermost send is told from what others send, and answers have the shapes that they take."""

import contextlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, TypeAdapter, ValidationError

from caravan_api.doors.chatops import mattermost, slack
from caravan_api.doors.chatops.answers import Answer, Button, Line
from caravan_api.doors.chatops.integrations import Integration, MattermostCommand, SlackApp
from caravan_api.errors import Unsigned
from caravan_api.markup import Product, escaped
from tests.support.chat import (
    MATTERMOST_TEAM,
    MATTERMOST_TOKEN,
    SLACK_SECRET,
    SLACK_WORKSPACE,
    Request,
    check_blocks,
    mattermost_command,
    mattermost_press,
    signed_by_slack,
    slack_command,
    slack_press,
)

NOW = datetime.now(UTC)
SLACK = SlackApp(product=Product.SLACK, signing_secret=SecretStr(SLACK_SECRET), workspaces=(SLACK_WORKSPACE,))
MATTERMOST = MattermostCommand(
    product=Product.MATTERMOST,
    token=SecretStr(MATTERMOST_TOKEN),
    workspaces=(MATTERMOST_TEAM,),
    api_url="https://caravan.example.org",
)
ASKED = Button("Return", ("return", "a lease"), asks="Give it back?")
ANSWER = Answer(
    "Here <!channel> you & I are", [Line("x of the pool @ci", (Button("Extend", ("extend", "id")), ASKED))], "kubectl"
)


def _signed(body: bytes) -> Request:
    """By Slack, and NOW: by the time that a test runs, minutes may have passed."""
    return signed_by_slack(body, at=NOW.timestamp())


def _slack(request: Request, now: datetime = NOW) -> Any:
    return slack.command(SLACK, "acme", request.headers, request.body, now)


def _pressed(request: Request) -> Any:
    return mattermost.action(MATTERMOST, "mm", request.body, NOW)


def _actions(answer: Answer = ANSWER, now: datetime = NOW) -> list[dict[str, Any]]:
    shown = mattermost.shown(MATTERMOST, "mm", answer, "i9g1b6ep4fb8bk4wtt1wuhqxmw", now)
    return [action for attachment in shown["attachments"] for action in attachment["actions"]]


# --- Slack ---


def test_a_command_of_slacks_is_read() -> None:
    said = _slack(_signed(slack_command("list").body))
    assert (said.workspace, said.chat_user, said.chat_name) == (SLACK_WORKSPACE, "U2147483697", "Steve")
    assert (said.text, said.reply_url) == ("list", "https://hooks.slack.com/commands/1234/5678")


def test_a_pressed_button_of_slacks_is_read() -> None:
    request = _signed(slack_press("extend id", "https://hooks.slack.com/actions/1").body)
    said = slack.action(SLACK, "acme", request.headers, request.body, NOW)
    assert (said.text, said.chat_user, said.reply_url) == (
        "extend id",
        "U2147483697",
        "https://hooks.slack.com/actions/1",
    )


@pytest.mark.parametrize(
    "request_",
    [
        slack_command("list").but(X_Slack_Signature=None),
        slack_command("list").but(X_Slack_Signature="v0=00"),
        slack_command("list").but(X_Slack_Signature="v0=é"),
        slack_command("list").but(X_Slack_Request_Timestamp=None),
        slack_command("list").but(X_Slack_Request_Timestamp="soon"),
        slack_command("list").but(X_Slack_Request_Timestamp="9" * 5000),
        Request(slack_command("list").body + b"&text=delete", slack_command("list").headers),
        signed_by_slack(slack_command("list").body, secret="another secret of 32 characters."),
        slack_command("list", workspace="T0002"),
        signed_by_slack(b""),
        signed_by_slack(b"&".join(b"a=1" for _ in range(1000))),
    ],
)
def test_what_slack_did_not_sign_for_us_is_refused(request_: Request) -> None:
    with pytest.raises(Unsigned):
        _slack(request_)


@pytest.mark.parametrize(("age_s", "is_heard"), [(0, True), (295, True), (-295, True), (310, False), (-310, False)])
def test_slacks_signature_is_good_for_five_minutes(age_s: int, is_heard: bool) -> None:
    request = _signed(slack_command("list").body)
    now = NOW + timedelta(seconds=age_s)
    if is_heard:
        assert _slack(request, now).text == "list"
    else:
        with pytest.raises(Unsigned):
            _slack(request, now)


def test_an_answer_has_the_blocks_that_slack_takes_and_asks_before_what_destroys() -> None:
    shown = slack.shown(ANSWER)
    check_blocks(shown["blocks"])
    assert shown["response_type"] == "ephemeral"
    assert "&lt;!channel&gt; you &amp; I" in shown["text"]
    extend, give_back = shown["blocks"][2]["elements"]
    assert (extend["value"], "confirm" in extend) == ("extend id", False)
    assert (give_back["value"], give_back["confirm"]["text"]["text"]) == ("return 'a lease' --yes", "Give it back?")


def test_an_answer_that_is_too_long_is_cut_to_what_slack_takes() -> None:
    long = Answer("a" * 9000, [Line("b" * 9000, (Button("c" * 200, ("d",), asks="e" * 900),)) for _ in range(60)])
    check_blocks(slack.shown(long)["blocks"])


# --- Mattermost ---


def test_a_command_of_mattermosts_is_read() -> None:
    request = mattermost_command("list")
    said = mattermost.command(MATTERMOST, "mm", request.headers, request.body)
    assert (said.workspace, said.chat_name, said.text) == (MATTERMOST_TEAM, "rob", "list")


@pytest.mark.parametrize(
    "request_",
    [
        mattermost_command("list").but(Authorization=None),
        mattermost_command("list").but(Authorization="Token "),
        mattermost_command("list").but(Authorization=f"Bearer {MATTERMOST_TOKEN}"),
        mattermost_command("list").but(Authorization="Token é"),
        mattermost_command("list", token="wrong" * 6),
        mattermost_command("list", team="another"),
        Request(b"", mattermost_command("list").headers),
    ],
)
def test_what_bears_no_token_of_mattermosts_for_us_is_refused(request_: Request) -> None:
    with pytest.raises(Unsigned):
        mattermost.command(MATTERMOST, "mm", request_.headers, request_.body)


def test_a_button_of_mattermosts_says_what_we_signed_for_that_person() -> None:
    extend, give_back = _actions()
    assert _pressed(mattermost_press(extend)).text == "extend id"
    assert _pressed(mattermost_press(give_back)).text == "return 'a lease'", "the question is still to be asked"
    assert extend["integration"]["url"] == "https://caravan.example.org/chat/mm/actions"
    assert MATTERMOST_TOKEN not in json.dumps(extend)


def _forged(**context: Any) -> Request:
    action = _actions()[0]
    action["integration"]["context"] |= context
    return mattermost_press(action)


@pytest.mark.parametrize(
    "request_",
    [
        _forged(command="delete demo --yes"),
        _forged(expires=2**60),
        _forged(expires="soon"),
        _forged(signature=""),
        _forged(signature=None),
        mattermost_press(_actions()[0], user="somebodyelse"),
        mattermost_press(_actions(now=NOW - timedelta(days=2))[0]),
        mattermost_press({"integration": {"context": {}}}),
        Request(b"[" * 100_000, {}),
        Request(b"{}", {}),
        Request(b"\xff", {}),
    ],
)
def test_a_button_that_we_did_not_make_for_them_is_refused(request_: Request) -> None:
    with pytest.raises(Unsigned):
        _pressed(request_)


def test_after_a_press_in_mattermost_the_second_step_is_there_to_be_typed() -> None:
    question = Answer("Give it back?", [Line("There is no way back.", (Button("Yes", ("return", "id", "--yes")),))])
    shown = mattermost.shown_after_press(question)
    assert "/caravan return id --yes" in shown["ephemeral_text"]


def test_texts_of_others_are_neither_mentions_nor_links() -> None:
    text = "<!channel> [x](http://evil.test) @all `a` **b** & <https://evil.test|x>"
    assert "<" not in escaped(Product.SLACK, text)
    shown = escaped(Product.MATTERMOST, text)
    assert "@all" not in shown
    assert "\\[x\\](http" in shown


# --- both ---


@given(st.binary(max_size=400), st.dictionaries(st.sampled_from(["X-Slack-Signature", "Authorization"]), st.text()))
def test_no_input_raises_anything_but_unsigned(body: bytes, headers: dict[str, str]) -> None:
    utf8 = body.decode("latin-1").encode()  # Slack's SDK signs nothing else
    signed = _signed(utf8)
    payload = _signed(b"payload=" + utf8)
    token = {"Authorization": f"Token {MATTERMOST_TOKEN}"}
    tries: list[Callable[[], Any]] = [
        lambda: _slack(Request(body, headers)),
        lambda: _slack(signed),
        lambda: slack.action(SLACK, "acme", signed.headers, signed.body, NOW),
        lambda: slack.action(SLACK, "acme", payload.headers, payload.body, NOW),
        lambda: mattermost.command(MATTERMOST, "mm", token, body),
        lambda: mattermost.command(MATTERMOST, "mm", headers, body),
        lambda: _pressed(Request(body, headers)),
    ]
    for heard in tries:
        with pytest.raises(Unsigned):
            heard()


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(("team", "user", "actions", "response_url"), _JSON)))
def test_no_signed_payload_raises_anything_but_unsigned(payload: dict[str, Any]) -> None:
    whole = {
        "team": {"id": SLACK_WORKSPACE},
        "user": {"id": "U1"},
        "actions": [{"value": "\ud800"}],
        "response_url": "x",
    }
    request = _signed(b"payload=" + json.dumps({**whole, **payload}).encode())
    with contextlib.suppress(Unsigned):
        slack.action(SLACK, "acme", request.headers, request.body, NOW)


@pytest.mark.parametrize(
    "settings",
    [
        {"product": "slack", "signing_secret": "", "workspaces": ["T1"]},
        {"product": "slack", "signing_secret": SLACK_SECRET, "workspaces": []},
        {"product": "irc", "workspaces": ["T1"]},
        {"product": "mattermost", "token": MATTERMOST_TOKEN, "workspaces": ["t"], "api_url": "caravan"},
    ],
)
def test_a_chat_without_secret_or_workspace_is_no_configuration(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Integration).validate_python(settings)
