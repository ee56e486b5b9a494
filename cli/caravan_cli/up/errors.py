"""What keeps a local stack from running."""

from caravan_cli.errors import CliError, Conflict


class StackError(CliError):
    """The local stack cannot run. `part` names the process at fault, where there is one, and `tail` ends its log."""

    def __init__(self, message: str, *, part: str | None = None, tail: str = "") -> None:
        super().__init__(message)
        self.part, self.tail = part, tail


class StackTaken(Conflict):
    """Another `caravan up`, or another program, has what this one needs."""
