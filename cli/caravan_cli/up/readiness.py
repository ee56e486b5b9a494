"""Ask a process of the stack how it is."""

import socket

import httpx

from caravan_cli.up.layout import LOOPBACK
from caravan_cli.up.processes import Program

PATIENCE_S = 2.0  # one question


def is_ready(program: Program) -> bool:
    """Whether it says so, or accepts connections where it has no page that says so."""
    if program.ready_path is None:
        with socket.socket() as trial:
            trial.settimeout(PATIENCE_S)
            return trial.connect_ex((LOOPBACK, program.port)) == 0
    answer = _ask(program, program.ready_path)
    return answer is not None and answer.is_success


def calls_itself_dead(program: Program) -> str | None:
    """Why a service asks to be restarted; None while it does not. One that is too busy to answer is not dead."""
    answer = _ask(program, "/livez")
    return answer.text.strip() if answer is not None and answer.status_code == httpx.codes.SERVICE_UNAVAILABLE else None


def _ask(program: Program, path: str) -> httpx.Response | None:
    try:
        return httpx.get(f"http://{LOOPBACK}:{program.port}{path}", timeout=PATIENCE_S, trust_env=False)
    except httpx.TransportError:
        return None
