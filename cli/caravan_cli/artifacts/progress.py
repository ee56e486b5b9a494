"""Show how a mirror comes along: a line for each file, and on a terminal how much is downloading."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from caravan_cli.artifacts.catalogue import Artifact
from caravan_cli.render import say


class Lines:
    """A line for each file that is done: for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def received(self, bytes_: int) -> None:
        """Nothing is said of bytes."""

    def building(self, what: str) -> None:
        say(self._console, f"building {what}")

    def done(self, artifact: Artifact, bytes_: int, seconds: float) -> None:
        say(self._console, f"{artifact.path}  {bytes_ / 1e6:.1f} MB  {seconds:.1f} s")

    def left_out(self, artifact: Artifact, reason: str) -> None:
        say(self._console, f"{artifact.path}  left out: {reason}")


class Counting(Lines):
    """The same, and below the lines how many bytes have come."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._received = 0
        self._live = Live(console=console, refresh_per_second=8, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        self.received(0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def received(self, bytes_: int) -> None:
        self._received += bytes_
        self._live.update(Spinner("dots", Text(f"{self._received / 1e6:.0f} MB received")))


def progress_on(console: Console) -> Lines:
    """The way of showing progress that fits where the output goes."""
    return Counting(console) if console.is_terminal else Lines(console)
