"""How fields of forms are read: browsers send empty ones too, and people type what no field wants."""

from pydantic import BeforeValidator

unless_blank = BeforeValidator(lambda value: value or None)
"""An empty field is none."""


def searched(text: str | None) -> str | None:
    """What somebody looks for, as names are written: without what no database takes."""
    return "".join(letter for letter in (text or "").lower().strip() if letter.isprintable()) or None
