"""Make machines' entries out of what was typed: options, CSV or YAML. What is allowed is the API's to say."""

import csv
import io
import sys
from pathlib import Path
from typing import Any

import yaml

from caravan_cli.errors import UsageProblem

Json = dict[str, Any]

_NUMBERS = frozenset({"cpus", "memory_mib", "disk_gib", "ssh_port"})
_PARTED = ";"  # between several values in one cell


def from_file(path: str) -> list[Json]:
    """The machines in a CSV or YAML (or JSON) file; `-` is YAML on standard input. UsageProblem where it is neither."""
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageProblem(f"{path} cannot be read: {error}") from error
    return _from_csv(path, text) if path.lower().endswith(".csv") else _from_yaml(path, text)


def labels(pairs: list[str]) -> dict[str, str]:
    """`KEY=VALUE` texts as labels. UsageProblem where one is something else."""
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not name or not equals:
            raise UsageProblem(f"{pair!r} is no label; it should be KEY=VALUE, such as rack=1.")
        found[name] = value
    return found


def bmc(**told: str | bool | None) -> Json | None:
    """What is told of a management controller, as the API calls it; None if nothing is."""
    return {key: value for key, value in told.items() if value} or None


def bmc_patch(**told: str | bool | None) -> Json | None:
    """The same for one that is there: what is empty or off goes, what is None stays as it is."""
    return {key: value or None for key, value in told.items() if value is not None} or None


def host_key(file: Path) -> str:
    """The key in a `.pub` file, without its comment."""
    try:
        words = file.read_text().split()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageProblem(f"{file} cannot be read: {error}") from error
    return " ".join(words[:2])


def _from_yaml(path: str, text: str) -> list[Json]:
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageProblem(f"{path} cannot be read as YAML: {error}") from error
    rows = content.get("machines") if isinstance(content, dict) else content
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise UsageProblem(f"{path} holds no list of machines.")
    return rows


def _from_csv(path: str, text: str) -> list[Json]:
    reader = csv.DictReader(io.StringIO(text), skipinitialspace=True, strict=True)
    try:
        return [_row(path, reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise UsageProblem(f"{path} cannot be read as CSV, at line {reader.line_num}: {error}") from error


def _row(path: str, line: int, cells: dict[str | None, Any]) -> Json:
    if None in cells or None in cells.values():
        raise UsageProblem(f"{path} has more or fewer cells than its header names, at line {line}.")
    told = {str(name).strip(): str(cell).strip() for name, cell in cells.items()}
    row: Json = {name: _value(name, cell) for name, cell in told.items() if cell and not name.startswith("bmc_")}
    controller = bmc(**{name.removeprefix("bmc_"): cell for name, cell in told.items() if name.startswith("bmc_")})
    return row | ({"bmc": controller} if controller else {})


def _value(name: str, cell: str) -> Any:
    if name in _NUMBERS and cell.isascii() and cell.isdigit():
        return int(cell)
    parts = [part.strip() for part in cell.split(_PARTED) if part.strip()]
    if name == "host_keys":
        return parts
    return labels(parts) if name == "labels" else cell
