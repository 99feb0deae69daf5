"""Results files: a ledger, and rows of numbers with their confidence intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from scipy.special import stdtrit

from igcam.core.errors import IgcamError
from igcam.core.files import read_json, write_json
from igcam.metrics.confusion_matrix import Scores
from igcam.metrics.ledger import Ledger


@dataclass(frozen=True)
class Row:
    """One number of a table."""

    id: str
    """Identifier; once used, it keeps its meaning."""
    value: float
    """Mean over `n`; fractions in percent, speed-ups as peer time / our time."""
    unit: str
    """"%", "s", "x", ..."""
    low: float | None = None
    """Lower end of the 95% interval; None for a single run."""
    high: float | None = None
    """Upper end of it."""
    n: int = 1
    """Number of seeds or repetitions."""
    note: str = ""
    """Remarks beyond the ledger."""
    values: tuple[float, ...] = ()
    """Values of the single seeds in their order, if there are several, so that more can be added later."""

    def __post_init__(self) -> None:
        for name in ("value", "low", "high"):
            number = getattr(self, name)
            if number is not None and not math.isfinite(number):
                raise ValueError(f"row {self.id}: {name} must be finite, got {number}")

    @classmethod
    def from_values(cls, id: str, values: Sequence[float], unit: str, note: str = "") -> Row:
        """Summarise one value a seed by their mean and interval."""
        mean, low, high = interval(values)
        return cls(id, mean, unit, low, high, len(values), note, tuple(values) if len(values) > 1 else ())

    @property
    def by_seed(self) -> tuple[float, ...]:
        """Value of every seed; of a single run its own."""
        return self.values if self.n > 1 else (self.value,)


def interval(values: Sequence[float]) -> tuple[float, float | None, float | None]:
    """Return the mean and the 95% interval of Student's t, None for a single value; ValueError without values."""
    if len(values) == 0:
        raise ValueError("values: must hold at least one number, got none")
    mean = float(np.mean(values))
    if len(values) == 1:
        return mean, None, None
    half = float(stdtrit(len(values) - 1, 0.975) * np.std(values, ddof=1) / math.sqrt(len(values)))
    return mean, mean - half, mean + half


def score_rows(scores: Scores, classes: Sequence[str], prefix: str = "") -> list[Row]:
    """List the scores of one run in percent, `prefix` before every id; absent classes have no row of their own.

    Classes are named without the background.
    """
    names = ("background", *classes)
    if len(names) != len(scores.iou):
        raise ValueError(f"classes: must name {len(scores.iou) - 1} classes, got {len(classes)}")
    absent = ", ".join(names[index] for index in scores.absent)
    rows = [
        Row(f"{prefix}miou", 100 * scores.miou, "%", note=f"absent: {absent}" if absent else ""),
        Row(f"{prefix}pixel_accuracy", 100 * scores.pixel_accuracy, "%"),
    ]
    if not math.isnan(scores.foreground_iou):
        rows.append(Row(f"{prefix}foreground_iou", 100 * scores.foreground_iou, "%"))
    for kind in ("iou", "fpr", "fnr"):
        rows += [
            Row(f"{prefix}{kind}/{name}", 100 * float(value), "%")
            for name, value in zip(names, getattr(scores, kind), strict=True)
            if not math.isnan(value)
        ]
    return rows


def write_results(path: str | Path, ledger: Ledger, rows: Sequence[Row]) -> None:
    """Write `{"ledger": {...}, "rows": [...]}` as JSON, atomically; ValueError for an id that is used twice."""
    ids = [row.id for row in rows]
    repeated = sorted({name for name in ids if ids.count(name) > 1})
    if repeated:
        raise ValueError(f"rows: ids must be unique, got {', '.join(repeated)} more than once")
    write_json(path, {"ledger": ledger.to_dict(), "rows": [asdict(row) for row in rows]})


def read_results(path: str | Path) -> tuple[Ledger, list[Row]]:
    """Read what `write_results` wrote; IgcamError if the file is missing or not of this format."""
    content = read_json(path)
    try:
        rows = [Row(**{**row, "values": tuple(row.get("values", ()))}) for row in content["rows"]]
        return Ledger.from_dict(content["ledger"]), rows
    except (KeyError, TypeError, ValueError) as error:
        raise IgcamError(f"{path}: is not a results file: {error}") from error
