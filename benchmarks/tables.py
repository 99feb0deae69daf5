"""Tables of several runs in one results file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from igcam.metrics.results import Row, read_results


def with_kept_rows(path: str | Path, rows: Sequence[Row]) -> list[Row]:
    """Return the rows of a results file that have other ids, if there is a file, and these after them."""
    new = {row.id for row in rows}
    kept = read_results(path)[1] if Path(path).exists() else []
    return [row for row in kept if row.id not in new] + [*rows]
