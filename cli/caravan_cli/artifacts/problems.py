"""What can go wrong with a mirror, each told with facts, who can fix it, and whether trying again helps."""

from pathlib import Path

from caravan_cli.errors import CliError, Problem


def _error(title: str, detail: str, *, who: str, retry: bool) -> CliError:
    return CliError(
        f"{title}: {detail}", problem=Problem(title=title, detail=detail, who_can_fix=who, retry_helps=retry)
    )


def wrong_sum(name: str, origin: str, *, expected: str, found: str) -> CliError:
    """What arrived or lies there is not what it should be."""
    return _error(
        f"{name} has a wrong SHA-256",
        f"{origin}: expected {expected}, found {found}. Nothing of it was kept.",
        who="whoever serves that file, or whoever changed it on the way",
        retry=True,
    )


def missing_file(path: Path) -> CliError:
    """The list names a file that does not lie there."""
    return _error(f"{path} is missing", "SHA256SUMS names it; fill the mirror again.", who="you", retry=False)


def broken_sums(origin: str, line: int) -> CliError:
    """The list itself can't be read."""
    return _error(
        f"{origin} is no list of SHA-256 sums", f"line {line} is not `<sha256>  <path>`.", who="you", retry=False
    )


def no_sum(name: str) -> CliError:
    """The catalogue doesn't know what the official file must hash to, so it is not fetched."""
    return _error(
        f"{name} has no known SHA-256",
        "the catalogue names no sum for this version, and nothing unchecked is installed; build it with --from source,"
        " or add upstream's published sum to playbooks/artifacts.",
        who="you",
        retry=False,
    )


def unreachable(url: str, why: str) -> CliError:
    """A host didn't answer, or broke off."""
    return _error(
        f"could not fetch {url}",
        f"{why}. Behind a firewall, set HTTPS_PROXY, or fill the mirror elsewhere and copy it here.",
        who="your network, or the host that serves it",
        retry=True,
    )


def no_such_file(url: str, status: int) -> CliError:
    """A host answered that it won't give it."""
    return _error(
        f"could not fetch {url}", f"the answer was HTTP {status}.", who="whoever serves that file", retry=status >= 500
    )


def no_member(name: str, member: str, origin: str) -> CliError:
    """An archive doesn't hold what the catalogue says it does."""
    return _error(
        f"{name} is not in its archive", f"{origin} has no {member}.", who="the catalogue's authors", retry=False
    )


def unknown_version(version: str, known: tuple[str, ...]) -> CliError:
    """No catalogue has that version."""
    return _error(f"no catalogue has Kubernetes {version}", f"known are {', '.join(known)}.", who="you", retry=False)


def no_tool(tool: str, purpose: str) -> CliError:
    """A program that a source build needs isn't installed."""
    return _error(f"{tool} is not installed", f"it is needed to {purpose}.", who="you", retry=False)


def build_failed(what: str, output: str) -> CliError:
    """A build ended with an error; its last lines say which."""
    tail = "\n  ".join(output.strip().splitlines()[-12:])
    return _error(
        f"could not build {what}", f"\n  {tail}", who="you, if a module or package is missing here", retry=True
    )
