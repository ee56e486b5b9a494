"""Make of a good message one that nobody can take, in one of the ways in which senders get it wrong."""

import copy
import json
import random
from collections.abc import Callable
from typing import Any

Json = dict[str, Any]


def spoilt(dice: random.Random, body: Json, mark: str) -> bytes:
    """The body, spoilt; `mark` tells it from others."""
    return dice.choice(_WAYS)(dice, {**body, "mark": mark})


def nested_deep(body: Json) -> bytes:
    """The body with a list in a list in a list, deeper than a parser may follow."""
    return json.dumps(body).encode()[:-1] + b', "x": ' + b"[" * 10_000 + b"}"


def _cut_short(dice: random.Random, body: Json) -> bytes:
    text = json.dumps({"mark": body.pop("mark"), **body})
    return text[: dice.randrange(text.index(",") + 1, len(text))].encode()


def _of_another_shape(_dice: random.Random, body: Json) -> bytes:
    return json.dumps({"something": "else", "mark": body["mark"]}).encode()


def _no_object(dice: random.Random, body: Json) -> bytes:
    return json.dumps(dice.choice([[body], str(body), [body["mark"]]])).encode()


def _no_utf8(_dice: random.Random, body: Json) -> bytes:
    return json.dumps(body).encode()[:-1] + b', "x": "\xff\xfe"}'


def _without_its_id(_dice: random.Random, body: Json) -> bytes:
    return json.dumps({name: value for name, value in body.items() if name != "cluster_id"}).encode()


def _of_a_wrong_type(dice: random.Random, body: Json) -> bytes:
    wrong: object = dice.choice([{}, [], [[[]]], "no such id", 1.5, True, None, "0" * 5000])
    return json.dumps({**body, "cluster_id": wrong}).encode()


def _noise(dice: random.Random, body: Json) -> bytes:
    return body["mark"].encode() + dice.randbytes(dice.randint(1, 2000))


_WAYS: list[Callable[[random.Random, Json], bytes]] = [
    _cut_short,
    _of_another_shape,
    _no_object,
    _no_utf8,
    _without_its_id,
    _of_a_wrong_type,
    _noise,
]


def meddled(dice: random.Random, body: Json) -> bytes:
    """The body with something odd in one to three places; what comes of it may still be good."""
    spoiling = json.loads(json.dumps(body))
    for _ in range(dice.randint(1, 3)):
        _meddle(dice, spoiling)
    return json.dumps(spoiling).encode()


def _meddle(dice: random.Random, value: Any) -> None:
    """Walk down to some place, and change what is there."""
    places = list(value) if isinstance(value, dict) else list(range(len(value)))
    if not places:
        return
    place = dice.choice(places)
    inner = value[place]
    if isinstance(inner, dict | list) and inner and dice.random() < 0.7:
        _meddle(dice, inner)
    elif isinstance(value, dict) and dice.random() < 0.2:
        del value[place]
    else:
        value[place] = copy.deepcopy(dice.choice(_ODD))  # or the next place would change it for all


_ODD: list[Any] = [
    None,
    True,
    -1,
    2**63,
    1e308,
    float("nan"),
    "",
    " ",
    "\0",
    "\u202e",
    "x" * 70_000,
    "2026-13-45T99:99:99Z",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999999Z",
    "00000000-0000-0000-0000-000000000000",
    "{{ 7 * 7 }}",
    "$(reboot)",
    "' OR 1=1 --",
    [],
    {},
    [None] * 1000,
]
