"""Draw the reference pages from the code they describe, so that they cannot drift from it.

`make docs` writes them; `tests/unit/test_docs.py` fails while a page is not what the code says.
"""

import ast
import importlib
import inspect
import json
import sys
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from caravan_provisioner.clouds import CloudConfig
from caravan_shared.contracts import states
from caravan_shared.contracts.addresses import IPNetwork
from caravan_shared.contracts.asyncapi import document
from caravan_shared.contracts.choices import CHOICES
from caravan_shared.contracts.events import EVENTS
from caravan_shared.contracts.facts import Event
from caravan_shared.contracts.public import TOLD
from caravan_shared.contracts.requests import Request
from caravan_shared.contracts.tuning import FIXED_AT_CREATION, Tuning
from caravan_shared.plumbing.settings import CaravanSettings, ServiceSettings
from metrics_of_the_code import described

DOCS = Path(__file__).resolve().parent
MADE_FROM_CODE = "<!-- Made by `make docs` from the code. Edit the code, not this page. -->\n"
_SETTINGS = ["api", "provisioner", "bootstrapper", "health", "dns", "sandbox"]
_MACHINES: list[tuple[type[StrEnum], Mapping[Any, frozenset[Any]] | None]] = [
    (states.ClusterPhase, states.CLUSTER_MOVES),
    (states.MachineState, states.MACHINE_MOVES),
    (states.MembershipState, states.MEMBERSHIP_MOVES),
    (states.InventoryState, states.INVENTORY_MOVES),
    (states.LeaseState, states.LEASE_MOVES),
    (states.Verdict, None),
]


def events_page() -> str:
    """The catalogue of events and requests."""
    parts = [
        MADE_FROM_CODE,
        "# Events\n",
        "Every fact that services tell each other, and teams. The body is JSON; the CloudEvents 1.0 attributes travel "
        "as headers (`ce-id`, `ce-source`, `ce-type`, `ce-time`, `ce-subject`, `ce-sequence`).\n",
        "**You are a team's developer?** [Teams over NATS](teams-over-nats.md) says how to connect, ask and listen. "
        "What you can hear is the second table, each subject below `progress.<your team>.`; "
        "[asyncapi.yaml](asyncapi.yaml) has the same for programs.\n",
        *_events_table("Between services", {name: event for name, event in EVENTS.items() if name not in TOLD}),
        *_events_table("Told to teams", TOLD),
    ]
    for subject, event in EVENTS.items():
        fields = event.model_fields
        parts += [
            f"\n## {subject}\n",
            f"{inspect.cleandoc(event.__doc__ or '')}\n",
            "| field | type | |\n|---|---|---|",
        ]
        parts += [
            f"| `{name}` | {_type(field.annotation)} | {field.description or ''} |" for name, field in fields.items()
        ]
        parts += ["", "```json", json.dumps(event.example, indent=2, ensure_ascii=False), "```"]
    parts += ["\n# Requests\n", "Questions between services over NATS request/reply; replies travel sealed.\n"]
    parts += ["| subject | asks | reply |\n|---|---|---|"]
    parts += [
        f"| `{request.subject}` | {_first_line(request)} | `{request.reply.__name__}`: {_first_line(request.reply)} |"
        for request in Request.__subclasses__()
    ]
    return "\n".join(parts) + "\n"


def _events_table(title: str, events: Mapping[str, type[Event]]) -> list[str]:
    rows = [f"| [`{name}`](#{name.replace('.', '')}) | {_first_line(event)} |" for name, event in events.items()]
    return [f"## {title}\n", "| subject | says |\n|---|---|", *rows, ""]


def asyncapi_page() -> str:
    """What teams and Caravan say to each other, for programs."""
    text = yaml.safe_dump(document(), sort_keys=False, allow_unicode=True, width=120)
    return f"# Made by `make docs` from the code. Edit the code, not this file.\n{text}"


def states_page() -> str:
    """The state machines, drawn."""
    parts = [MADE_FROM_CODE, "# States\n"]
    for enum, moves in _MACHINES:
        meanings = _member_docs(enum)
        parts += [f"## {enum.__name__}\n", f"{inspect.cleandoc(enum.__doc__ or '')}\n"]
        if moves:
            arrows = [f"    {old} --> {new}" for old, targets in moves.items() for new in sorted(targets)]
            parts += ["```mermaid", "stateDiagram-v2", f"    [*] --> {next(iter(enum))}", *arrows, "```\n"]
        parts += ["| state | means |\n|---|---|"]
        parts += [f"| `{member}` | {meanings[member.name]} |" for member in enum]
        parts += [""]
    return "\n".join(parts)


def configuration_page() -> str:
    """Every setting of every process."""
    parts = [
        MADE_FROM_CODE,
        "# Configuration\n",
        "Everything is set by environment variables. `CARAVAN_<SERVICE>_<FIELD>` wins over `CARAVAN_<FIELD>`, so one "
        "variable can serve all services of a host.\n",
        "## Every service\n",
        *_settings_table(ServiceSettings, "CARAVAN_", frozenset()),
    ]
    for service in _SETTINGS:
        settings: type[CaravanSettings] = importlib.import_module(f"caravan_{service}.settings").Settings
        prefix = str(settings.model_config["env_prefix"])
        shared = frozenset(ServiceSettings.model_fields) if issubclass(settings, ServiceSettings) else frozenset[str]()
        parts += [f"\n## {service}\n", *_settings_table(settings, prefix, shared)]
    return "\n".join([*parts, *_clouds_section()]) + "\n"


def large_clusters_page() -> str:
    """What a cluster's size sets, and every value that a spec may set."""
    parts = [
        MADE_FROM_CODE,
        "# Large clusters\n",
        "A cluster is set for its size, the number of its nodes in all sets together; `caravan cluster plan` shows "
        "the values before anything is made, with advice on what is yours to choose, and `GET /v1/clusters/{cluster}` "
        "those that hold. Each can be set otherwise in the spec: `tuning: {kubelet_max_pods: 200}`.\n",
        f"What a running cluster cannot change ({', '.join(f'`{name}`' for name in FIXED_AT_CREATION)}) stays as it "
        "was made when the cluster grows: its spec then names it.\n",
        "## What size chooses\n",
        "| value | nodes: value | only with | why | source |\n|---|---|---|---|---|",
    ]
    parts += [
        f"| `{choice.field}` | {'; '.join(f'{nodes:,}: {_plain(value)}' for nodes, value in choice.steps)} "
        f"| {choice.needs.words if choice.needs else ''} | {choice.why} | <{choice.source}> |"
        for choice in CHOICES
    ]
    parts += ["\n## Every value\n", "| value | is |\n|---|---|"]
    parts += [f"| `{name}` | {field.description} |" for name, field in Tuning.model_fields.items()]
    return "\n".join(parts) + "\n"


def metrics_page() -> str:
    """Every metric of every service."""
    parts = [
        MADE_FROM_CODE,
        "# Metrics\n",
        "Every service serves these on `/metrics`, with those of its process (`process_*`, `python_*`). Labels have "
        "few values, which the code or the configuration names: never an id, a user, a team or a cluster. Alerts and "
        "dashboards made of them: [observability.md](observability.md).\n",
    ]
    for package, metrics in described().items():
        title = "Every service" if package == "caravan_shared" else package.removeprefix("caravan_")
        parts += [f"## {title}\n", "| metric | type | labels | |\n|---|---|---|---|"]
        parts += [
            f"| `{each.name}` | {each.kind} | {', '.join(f'`{label}`' for label in each.labels)} | {each.says} |"
            for each in metrics
        ]
        parts += [""]
    return "\n".join(parts)


PAGES: dict[str, Callable[[], str]] = {
    "events.md": events_page,
    "asyncapi.yaml": asyncapi_page,
    "states.md": states_page,
    "configuration.md": configuration_page,
    "large-clusters.md": large_clusters_page,
    "metrics.md": metrics_page,
}


def _clouds_section() -> list[str]:
    parts = ["\n## Clouds\n", "What `CARAVAN_PROVISIONER_CLOUDS` may say of a cloud, by its `kind`."]
    configs: tuple[type[BaseModel], ...] = get_args(get_args(CloudConfig)[0])
    for config in configs:
        fields = {name: field for name, field in config.model_fields.items() if name != "kind"}
        parts += [f"\n### {config.model_fields['kind'].default}\n", "| key | default | |\n|---|---|---|"]
        parts += [
            f"| `{name}` | {_default(_shown(field))} | {field.description or ''} |" for name, field in fields.items()
        ]
    return parts


def _shown(field: FieldInfo) -> object:
    """A field's default as JSON would have it; None where it is made at the start, or has to be given."""
    if field.default_factory or field.is_required():
        return None
    return TypeAdapter[Any](field.annotation or Any).dump_python(field.default, mode="json")


def _settings_table(settings: type[CaravanSettings], prefix: str, leave_out: frozenset[str]) -> list[str]:
    rows = [
        f"| `{prefix}{name.upper()}` | {_default(field.get_default())} | {field.description or ''} |"
        for name, field in settings.model_fields.items()
        if name not in leave_out
    ]
    return ["| variable | default | |\n|---|---|---|", *rows]


def _plain(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value).lower()


def _default(value: object) -> str:
    """A default as a reader finds it: paths from the checkout's top, wherever that is."""
    if isinstance(value, Path) and value.is_relative_to(DOCS.parent):
        value = value.relative_to(DOCS.parent)
    return "" if value is PydanticUndefined or value in (None, "") else f"`{value}`"


def _type(annotation: object) -> str:
    name = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    name = name.replace(str(IPNetwork), "IPv4Network | IPv6Network")
    for noise in (
        "typing.",
        "datetime.",
        "uuid.",
        "ipaddress.",
        "caravan_shared.contracts.facts.",
        "caravan_shared.contracts.spec.",
        "caravan_shared.contracts.machines.",
    ):
        name = name.replace(noise, "")
    return "`" + name.replace("|", "or") + "`"


def _first_line(thing: type) -> str:
    return inspect.cleandoc(thing.__doc__ or "").split("\n\n")[0].replace("\n", " ")


def _member_docs(enum: type[StrEnum]) -> dict[str, str]:
    """The string under each member, which Python itself does not keep."""
    body = ast.parse(inspect.getsource(enum)).body[0]
    assert isinstance(body, ast.ClassDef)
    docs = {}
    for statement, following in zip(body.body, body.body[1:], strict=False):
        if isinstance(statement, ast.Assign) and isinstance(following, ast.Expr):
            assert isinstance(statement.targets[0], ast.Name)
            docs[statement.targets[0].id] = str(ast.literal_eval(following.value)).replace("\n    ", " ")
    return docs


if __name__ == "__main__":
    for name, page in PAGES.items():
        (DOCS / name).write_text(page())
    sys.stdout.write(f"wrote {', '.join(PAGES)}\n")
