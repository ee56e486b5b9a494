"""The report of a run: each trial's count, result, seed and seconds, as Markdown for people and as JSON."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.promises.trial import Trial

_HEAD = ("promise", "trial", "done", "asked", "unit", "result", "seed", "seconds", "figures")


@dataclass
class Report:
    """Written anew after each trial, so that a run that is cut short has told what it did."""

    folder: Path
    form: str
    """`short` or `full`."""
    began_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    trials: list[Trial] = field(default_factory=list)

    def add(self, trial: Trial) -> None:
        """Write the report with one more trial."""
        self.trials.append(trial)
        self.folder.mkdir(exist_ok=True)
        rows = [_row(each) for each in self.trials]
        head = {"form": self.form, "began_at": self.began_at.isoformat(timespec="seconds")}
        (self.folder / "report.json").write_text(json.dumps({**head, "trials": rows}, indent=2) + "\n")
        (self.folder / "report.md").write_text(self._markdown(rows))

    def _markdown(self, rows: list[dict[str, Any]]) -> str:
        lines = [f"# Promises, {self.form} form, begun {self.began_at:%Y-%m-%d %H:%M} UTC", ""]
        lines += [_line(_HEAD), _line(("---",) * len(_HEAD))]
        lines += [_line([_cell(row[name]) for name in _HEAD]) for row in rows]
        return "\n".join(lines) + "\n"


def _row(trial: Trial) -> dict[str, Any]:
    size = trial.size
    return {
        "promise": size.promise,
        "trial": size.key,
        "done": trial.done,
        "asked": trial.asked,
        "unit": size.unit,
        "result": str(trial.result),
        "seed": trial.seed,
        "seconds": round(trial.seconds, 1),
        "figures": {name: round(value, 3) for name, value in trial.figures.items()},
    }


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {figure:,}" for name, figure in value.items())
    return f"{value:,}" if isinstance(value, float) else str(value)


def _line(cells: Any) -> str:
    return "| " + " | ".join(cells) + " |"
