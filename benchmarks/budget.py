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
from guidance import MODES
from guidance import RESULTS as GUIDANCE

from igcam.errors import IgcamError
from igcam.files import write_text
from igcam.metrics.results import Row, read_results, write_results

HERE = Path(__file__).parent
FIGURE = HERE.parent / "docs" / "images" / "budget.svg"
WIDTH, HEIGHT, LEFT, BOTTOM = 720, 400, 60, 50
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
    hours, scores = [point[1] for point in points], [point[2] for point in points]
    low, high = math.floor(min(scores)), math.ceil(max(scores))
    first, last = math.log(min(hours) / 1.15), math.log(max(hours) * 1.15)

    def place(hour: float, score: float) -> tuple[float, float]:
        x = LEFT + (WIDTH - LEFT - 20) * (math.log(hour) - first) / (last - first)
        return round(x, 1), round(20 + (HEIGHT - BOTTOM - 20) * (high - score) / max(high - low, 1), 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        'font-size="13">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for score in range(low, high + 1, 2):
        y = place(min(hours), score)[1]
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - 20}" y1="{y}" y2="{y}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end">{score}</text>')
    for hour in (2.5, 5, 10, 20, 30):
        if min(hours) / 1.15 <= hour <= max(hours) * 1.15:
            x = place(hour, low)[0]
            parts.append(f'<text x="{x}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{hour:g} h</text>')
    masks = [place(hour, score) for mode, hour, score in points if mode in ("tags", "full") or mode.startswith("masks")]
    line = " ".join(f"{x},{y}" for x, y in sorted(masks))
    parts.append(f'<polyline points="{line}" fill="none" stroke="#2a6f97" stroke-width="2"/>')
    for mode, hour, score in points:
        x, y = place(hour, score)
        colour = "#2a6f97" if mode in ("tags", "full") or mode.startswith("masks") else "#c1440e"
        parts.append(f'<circle cx="{x}" cy="{y}" r="4.5" fill="{colour}"/>')
        parts.append(f'<text x="{x}" y="{y - 9}" text-anchor="middle">{mode}</text>')
    parts.append(
        f'<text x="{WIDTH / 2}" y="{HEIGHT - 8}" text-anchor="middle">hours to annotate all training images</text>'
    )
    parts.append(f'<text x="{LEFT - 45}" y="14">mIoU on val, no tags</text></svg>')
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    main()
