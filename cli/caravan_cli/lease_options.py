"""Options that the commands about leases share."""

from typing import Annotated

import typer

from caravan_cli import durations
from caravan_cli.kubeconfigs import AccessRole

PATIENCE_S = 3600  # as long as a lease lasts by default: whoever is before us has had their turn by then

Lasts = Annotated[
    int | None,
    durations.option("--for", "How long it shall last, from when you get it, such as 90m or 2h. Default: the pool's."),
]
Purpose = Annotated[str | None, typer.Option(help="What for, in one line.")]
Labels = Annotated[
    list[str] | None,
    typer.Option("--label", help="KEY=VALUE to find it again by, such as commit=1a2b3c. Repeat it."),
]
Patience = Annotated[
    int,
    durations.option(
        "--timeout", "Longest wait in the queue; past it the lease is given back. Default: 1h.", show_default=False
    ),
]
Role = Annotated[AccessRole, typer.Option(help="What the kubeconfig allows.", case_sensitive=False)]
