"""What annotation time buys: mIoU on val without tags over the seconds that all training images took to annotate.

Takes the modes that guidance.py has measured from its results, and draws docs/images/budget.svg. No photos are needed.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from animals import call, print_rows
from chart import LEFT, RIGHT, Chart
from guidance import MODES
from guidance import RESULTS as GUIDANCE

from igcam.core.errors import IgcamError
from igcam.core.files import write_text
from igcam.metrics.results import Row, read_results, write_results

HERE = Path(__file__).parent
FIGURE = HERE.parent / "docs" / "images" / "budget.svg"
WIDTH, HEIGHT = 720, 400
MASKS, OTHERS = "#2a6f97", "#c1440e"
"""Colours."""
Point = tuple[str, float, float]
"""Mode, hours, mIoU."""


def main() -> None:
    """Parse the command line and run."""
    call(lambda _: run(), argparse.ArgumentParser(description=__doc__).parse_args())


def run() -> None:
    """Print and write the curve and its figure."""
    ledger, measured = read_results(GUIDANCE)
    found = {row.id: row for row in measured}
    rows: list[Row] = []
    points: list[Point] = []
    for mode in MODES:
        names = (f"{mode}/annotation/seconds", f"{mode}/val/notags/miou")
        if all(name in found for name in names):
            seconds, score = (found[name] for name in names)
            rows.append(replace(seconds, id=f"budget/{mode}/seconds"))
            rows.append(replace(score, id=f"budget/{mode}/val/notags/miou"))
            points.append((mode, seconds.value / 3600, score.value))
    if len(points) < 2:
        raise IgcamError(f"{GUIDANCE}: has {len(points)} modes, but a curve needs two: run guidance.py first")
    write_results(HERE / "results" / "budget.json", ledger, rows)
    write_text(FIGURE, drawn(points))
    print_rows(rows)


def drawn(points: Sequence[Point]) -> str:
    """Return the figure as SVG: hours of annotation, in logarithms, against mIoU; masks are joined by a line."""
    hours = [point[1] for point in points]
    minimum, maximum = min(hours) / 1.15, max(hours) * 1.15
    first, last = math.log(minimum), math.log(maximum)
    room = WIDTH - LEFT - RIGHT
    chart = Chart(
        WIDTH,
        HEIGHT,
        [point[2] for point in points],
        lambda hour: LEFT + room * (math.log(hour) - first) / (last - first),
    )
    masks = [chart.position(hour, score) for mode, hour, score in points if by_mask(mode)]
    parts = [chart.line(sorted(masks), MASKS)]
    for mode, hour, score in points:
        x, y = chart.position(hour, score)
        parts.append(f'<circle cx="{x}" cy="{y}" r="4.5" fill="{MASKS if by_mask(mode) else OTHERS}"/>')
        parts.append(f'<text x="{x}" y="{y - 9}" text-anchor="middle">{mode}</text>')
    marks = {hour: f"{hour:g} h" for hour in (2.5, 5, 10, 20, 30) if minimum <= hour <= maximum}
    return chart.drawn(parts, marks, 2, "hours to annotate all training images")


def by_mask(mode: str) -> bool:
    """Tell whether a mode has tags and masks alone."""
    return mode in ("tags", "full") or mode.startswith("masks")


if __name__ == "__main__":
    main()
