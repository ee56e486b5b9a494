"""Run a program on the machine and take its failure as a sentence. For the modules beside it; standard library only."""

from __future__ import annotations

import os
import subprocess

SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # a session that is no login has less
LAST_LINES = 12  # of what a failed program said; kubeadm's reason stands in its last lines


class CommandFailed(Exception):
    """A program ended badly or took too long. `said` is what it wrote, output and errors together."""

    def __init__(self, argv: list[str], why: str, said: str) -> None:
        last = "\n".join(said.strip().splitlines()[-LAST_LINES:])
        super().__init__(f"`{' '.join(argv[:4])} …` {why}: {last}")
        self.said = said


def run(argv: list[str], timeout_s: float) -> str:
    """What the program wrote to its standard output; CommandFailed if it ends badly or not within `timeout_s`."""
    environment = {**os.environ, "PATH": f"{SEARCH_PATH}:{os.environ.get('PATH', '')}", "LC_ALL": "C"}
    try:
        ended = subprocess.run(  # noqa: S603
            argv, capture_output=True, text=True, timeout=timeout_s, env=environment, check=False
        )
    except subprocess.TimeoutExpired as error:
        said = error.stdout.decode(errors="replace") if isinstance(error.stdout, bytes) else str(error.stdout or "")
        raise CommandFailed(argv, f"did not end within {timeout_s:.0f} s", said) from error
    except OSError as error:
        raise CommandFailed(argv, "could not be started", str(error)) from error
    if ended.returncode:
        raise CommandFailed(argv, f"ended with {ended.returncode}", ended.stdout + ended.stderr)
    return ended.stdout
