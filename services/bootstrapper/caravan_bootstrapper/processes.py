"""The processes of one run: found by the run's own directory in their command line, ended when they outlive it.

Ansible's workers have process groups of their own, so ending ansible-playbook leaves them at work; and modules they
started name no directory. So a run's processes are those that name its directory, and all their descendants.
"""

from pathlib import Path

import psutil

ENDED_WITHIN_S = 2.0  # from SIGTERM to SIGKILL


def of_run(directory: Path, among: list[psutil.Process]) -> list[psutil.Process]:
    """The processes of the run that keeps its files in `directory`, descendants included."""
    found: dict[int, psutil.Process] = {}
    for process in among:
        try:
            if any(str(directory) in argument for argument in process.cmdline()):
                found |= {one.pid: one for one in (process, *process.children(recursive=True))}
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return list(found.values())


def below_children(directory: Path) -> list[psutil.Process]:
    """The run's processes that our own child, ansible-playbook, has started; ending the child is its starter's part."""
    ours = psutil.Process()
    children = set(ours.children())
    return [one for one in of_run(directory, list(ours.children(recursive=True))) if one not in children]


def end(processes: list[psutil.Process]) -> int:
    """Terminate, then kill; return how many were still there. psutil never touches a process id used anew."""
    survivors = [process for process in processes if process.is_running()]
    for process in survivors:
        _send(process, "terminate")
    _, stubborn = psutil.wait_procs(survivors, timeout=ENDED_WITHIN_S)
    for process in stubborn:
        _send(process, "kill")
    psutil.wait_procs(stubborn, timeout=ENDED_WITHIN_S)
    return len(survivors)


def _send(process: psutil.Process, signal: str) -> None:
    try:
        getattr(process, signal)()
    except psutil.NoSuchProcess:
        return
