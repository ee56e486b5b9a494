"""Times as Kubernetes writes them: RFC 3339 in UTC."""

from datetime import UTC, datetime


def timestamp(epoch_s: float) -> str:
    """`2026-01-31T12:00:00Z`, as in creationTimestamp."""
    return datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def micro_timestamp(epoch_s: float) -> str:
    """`2026-01-31T12:00:00.000000Z`, as in a Lease's renewTime."""
    return datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def epoch_s(text: str) -> float:
    """Epoch seconds of a timestamp. Raises ValueError."""
    return datetime.fromisoformat(text).timestamp()


def age(since: str, now: float) -> str:
    """kubectl's short age: `5s`, `3m10s`, `4h`, `12d`."""
    seconds = max(0, int(now - epoch_s(since)))
    if seconds < 120:
        return f"{seconds}s"
    minutes, rest = divmod(seconds, 60)
    if minutes < 10:
        return f"{minutes}m{rest}s" if rest else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    hours = minutes // 60
    return f"{hours}h" if hours < 48 else f"{hours // 24}d"
