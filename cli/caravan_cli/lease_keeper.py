"""Keep a lease while somebody works with its cluster: heartbeats, and a kubeconfig that never expires meanwhile.

In a thread of its own with a client of its own, because the command is waited for. Nothing that goes wrong here ends
the command: it is said, and tried again.
"""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import ValidationError

from caravan_cli import lease_access
from caravan_cli.client import Client
from caravan_cli.errors import CliError, Conflict
from caravan_cli.kubeconfigs import AccessRole
from caravan_cli.lease_access import Access
from caravan_cli.outcome import tell
from caravan_cli.render import say, stderr
from caravan_cli.views import Lease

BEATS = 3  # within the time that a lease lasts without: two may be lost
AGAIN_S = 5.0  # after a heartbeat that failed


class Keeper:
    """Keeps a lease for as long as its `with` lasts. `file` holds the kubeconfig."""

    def __init__(self, api: Client, lease: Lease, access: Access, role: AccessRole, file: Path) -> None:
        assert lease.heartbeat_s is not None, "a lease that is kept like this was taken with a heartbeat"
        self._api, self._lease, self._access, self._role, self._file = api, lease, access, role, file
        self._beat_every_s = lease.heartbeat_s / BEATS
        self._beat_at = time.monotonic() + self._beat_every_s
        self._renew_not_before = 0.0
        self._failing: set[str] = set()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease-keeper", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._thread.join()

    def _keep(self) -> None:
        while not self._stopped.wait(max(0.0, self._due_at() - time.monotonic())):
            if time.monotonic() >= self._beat_at:
                self._attempt("heartbeat", self._beat)
            else:
                self._attempt("new kubeconfig", self._renew)

    def _due_at(self) -> float:
        renew_at = lease_access.renewal_due_at(self._lease, self._access)
        return self._beat_at if renew_at is None else min(self._beat_at, max(renew_at, self._renew_not_before))

    def _attempt(self, what: str, step: Callable[[], None]) -> None:
        """Take a step; say when it begins to fail and when it works again, not each time."""
        try:
            step()
        except (CliError, ValidationError) as error:
            if what not in self._failing:
                say(stderr(), f"Warning: no {what} for lease {self._lease.id}: {error}", style="yellow")
            self._failing.add(what)
        else:
            if what in self._failing and not self._stopped.is_set():
                tell(f"The {what} for lease {self._lease.id} is through again.")
            self._failing.discard(what)

    def _beat(self) -> None:
        self._beat_at = time.monotonic() + min(self._beat_every_s, AGAIN_S)
        try:
            self._lease = self._api.heartbeat(self._lease.id)
        except Conflict as error:
            self._stopped.set()
            lost = f"Lease {self._lease.id} is LOST and its cluster with it: {error}. The command runs on without it."
            say(stderr(), lost, style="bold red")
        self._beat_at = time.monotonic() + self._beat_every_s

    def _renew(self) -> None:
        self._renew_not_before = time.monotonic() + lease_access.RENEW_AGAIN * self._access.lifetime_s
        access = lease_access.renewed(self._api, self._lease, self._role, self._access)
        if not self._stopped.is_set():
            access.write(self._file)
            self._access = access
