"""Ask a process of the stack whether it is ready."""

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
    try:
        answer = httpx.get(f"http://{LOOPBACK}:{program.port}{program.ready_path}", timeout=PATIENCE_S, trust_env=False)
    except httpx.TransportError:
        return False
    return answer.is_success
