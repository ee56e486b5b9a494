"""`caravan cluster runs` and `logs`: what was executed on a cluster, and what Ansible printed."""

import time
from collections.abc import Iterator
from typing import Annotated

import typer

from caravan_cli import options
from caravan_cli.client import Client
from caravan_cli.errors import NotFound
from caravan_cli.render import RUN_HEADS, Output, document, run_row, stdout, table, visible
from caravan_cli.session import client
from caravan_cli.views import LogPage

LOOK_EVERY_S = 1.0  # what is printed is stored about twice a second


def list_runs(
    ctx: typer.Context,
    name: options.Name,
    limit: Annotated[int, typer.Option(min=1, max=500, help="Runs to show, the newest ones.")] = 20,
    output: options.OutputForm = Output.TABLE,
) -> None:
    """List what was executed on a cluster, newest first: each run is one execution of a playbook.

    Example:

      caravan cluster runs demo
    """
    with client(ctx) as api:
        found = api.runs(name, limit=limit)
    if output in {Output.JSON, Output.YAML}:
        document(list(found), output)
    elif output is Output.NAME:
        typer.echo("\n".join(run.run_id for run in found), nl=bool(found))
    else:
        table(stdout(), RUN_HEADS, [run_row(run) for run in found])


def logs(
    ctx: typer.Context,
    name: options.Name,
    run: Annotated[
        str | None, typer.Option(help="Id of the run, as `caravan cluster runs` lists it. Default: the newest.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="All that is kept of it; otherwise its end, some 64,000 characters.")
    ] = False,
    follow: Annotated[bool, typer.Option("--follow", help="Stay until the run has ended.")] = False,
) -> None:
    """Show what Ansible printed in a run on a cluster. No secrets are in it.

    Example:

      caravan cluster logs demo --follow
    """
    with client(ctx) as api:
        run_id = run or _newest(api, name)
        last = api.log_page(name, run_id, {})
        for text in reversed(list(_before(api, name, run_id, last) if everything else ())):
            _print(text)
        _print(last.text)
        for text in _after(api, name, run_id, last) if follow else ():
            _print(text)


def _newest(api: Client, name: str) -> str:
    found = api.runs(name, limit=1)
    if not found:
        raise NotFound(f"Nothing was executed on {name} yet: the first run begins as soon as machines are there.")
    return found[0].run_id


def _before(api: Client, name: str, run_id: str, page: LogPage) -> Iterator[str]:
    """What was printed before this part, from there backwards."""
    while page.before:
        page = api.log_page(name, run_id, page.before)
        yield page.text


def _after(api: Client, name: str, run_id: str, page: LogPage) -> Iterator[str]:
    """What is printed after this part, until the run has ended."""
    while page.after:
        if not page.text:
            time.sleep(LOOK_EVERY_S)
        page = api.log_page(name, run_id, page.after)
        yield page.text


def _print(text: str) -> None:
    """As it was printed, whatever the width; Ansible's lines are not ours to break."""
    typer.echo(visible(text.expandtabs()), nl=False)
