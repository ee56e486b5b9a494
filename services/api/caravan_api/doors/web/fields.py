"""How fields of forms are read: browsers send empty ones too, and people type what no field wants."""

from typing import Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ValidationError

from caravan_api.admission.shape import describe
from caravan_api.errors import Malformed
from caravan_shared.contracts.facts import FieldProblem

_Body = TypeVar("_Body", bound=BaseModel)

unless_blank = BeforeValidator(lambda value: value or None)
"""An empty field is none."""


def searched(text: str | None) -> str | None:
    """What somebody looks for, as names are written: without what no database takes."""
    return "".join(letter for letter in (text or "").lower().strip() if letter.isprintable()) or None


def body(shape: type[_Body], **fields: Any) -> _Body:
    """What REST would have been sent. Raises `Malformed` where REST would refuse it."""
    try:
        return shape.model_validate(fields)
    except ValidationError as error:
        raise Malformed(list(describe(error.errors(include_url=False)))) from error


def pairs(text: str | None, field: str) -> dict[str, str]:
    """`name=value`, a line each. Raises `Malformed` for a line that is none."""
    lines = [line.strip() for line in (text or "").splitlines() if line.strip()]
    if odd := [line for line in lines if "=" not in line]:
        raise Malformed([FieldProblem(field=field, problem=f"{odd[0]!r} has no '='", remedy="write name=value")])
    return {name.strip(): value.strip() for name, _, value in (line.partition("=") for line in lines)}


def confirmed(typed: str, name: str) -> str:
    """The name of what is to be deleted, if that was typed. Raises `Malformed`."""
    if typed.strip() == name:
        return name
    raise Malformed([FieldProblem(field="confirm", problem="it is not its name", remedy=f"type {name} to delete it")])
