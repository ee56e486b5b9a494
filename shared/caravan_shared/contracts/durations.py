"""Durations as people type them: `90s`, `30m`, `1h30m`, `2d`, or plain seconds."""

import re

_FORM = re.compile(r"(?=\d)(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", re.ASCII)
_UNITS_S = (86_400, 3600, 60, 1)
_LONGEST = 20  # characters; no duration that anybody means has more, and int() is not asked for thousands of digits


def parse(text: str) -> int:
    """Seconds. Raises ValueError, with a sentence for whoever typed it, where the text is no duration."""
    found = _FORM.fullmatch(f"{text}s" if text.isdecimal() else text) if len(text) <= _LONGEST else None
    if found is None:
        raise ValueError(f"{text[:_LONGEST]!r} is no duration; write 90s, 30m, 2h or 1d, or plain seconds.")
    return sum(int(count) * unit for count, unit in zip(found.groups(default="0"), _UNITS_S, strict=True))
