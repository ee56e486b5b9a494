"""/readyz, /livez and /healthz as kube-apiserver words them. Pure."""

from collections.abc import Set

_POST_START = ("start-apiserver-admission-initializer", "rbac/bootstrap-roles", "start-kube-apiserver-admission")
_LIVE = ("ping", "log", "etcd", *(f"poststarthook/{hook}" for hook in _POST_START))
CHECKS = {"livez": _LIVE, "healthz": _LIVE, "readyz": (*_LIVE[:3], "informer-sync", *_LIVE[3:], "shutdown")}


def report(endpoint: str, failing: Set[str], excluded: Set[str], *, verbose: bool) -> tuple[int, str]:
    """Status code and text of readyz, livez or healthz; a failing check that is not excluded makes it 500."""
    checks = CHECKS[endpoint]
    # A fault may name a check that this endpoint does not have; it fails all the same, so that no fault goes unseen.
    checks = (*checks, *sorted(failing - set(checks)))
    failed = [check for check in checks if check in failing and check not in excluded]
    if not failed and not verbose:
        return 200, "ok"
    lines = [_line(check, failed=check in failed, excluded=check in excluded) for check in checks]
    verdict = f"{endpoint} check {'failed' if failed else 'passed'}"
    return (500 if failed else 200), "\n".join([*lines, verdict, ""])


def _line(check: str, *, failed: bool, excluded: bool) -> str:
    if excluded:
        return f"[+]{check} excluded: ok"
    return f"[-]{check} failed: reason withheld" if failed else f"[+]{check} ok"
