"""What the figures of mIoU over time share: their frame as SVG, with a scale of scores and one of hours."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

LEFT, TOP, RIGHT, BOTTOM = 60, 20, 20, 50
"""Space around the drawing, in pixels."""


@dataclass(frozen=True)
class Chart:
    """A figure that is to hold these scores."""

    width: int
    """Pixels."""
    height: int
    """Pixels."""
    scores: Sequence[float]
    """All that are drawn, in percent: the scale goes from the whole number below them to the one above."""
    across: Callable[[float], float]
    """Hours -> pixels from the left."""

    @property
    def scale(self) -> tuple[int, int]:
        """The lowest and the highest score of the scale."""
        return math.floor(min(self.scores)), math.ceil(max(self.scores))

    def position(self, hour: float, score: float) -> tuple[float, float]:
        """Return where a point lies, pixels from the left and from the top."""
        low, high = self.scale
        room = self.height - BOTTOM - TOP
        return round(self.across(hour), 1), round(TOP + room * (high - score) / max(high - low, 1), 1)

    def line(self, points: Sequence[tuple[float, float]], colour: str) -> str:
        """Return a line through places."""
        places = " ".join(f"{x},{y}" for x, y in points)
        return f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="2"/>'

    def drawn(self, parts: Sequence[str], hours: Mapping[float, str], step: int, below: str) -> str:
        """Return the figure.

        Args:
            parts: SVG of what it shows.
            hours: Where the scale of hours has a mark, and its text.
            step: Between two marks of the scale of scores.
            below: What the hours are of.
        """
        low, high = self.scale
        frame = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" '
            'font-family="sans-serif" font-size="13">',
            f'<rect width="{self.width}" height="{self.height}" fill="white"/>',
        ]
        for score in range(low, high + 1, step):
            _, y = self.position(next(iter(hours)), score)
            frame.append(f'<line x1="{LEFT}" x2="{self.width - RIGHT}" y1="{y}" y2="{y}" stroke="#ddd"/>')
            frame.append(f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end">{score}</text>')
        for hour, text in hours.items():
            x, _ = self.position(hour, low)
            frame.append(f'<text x="{x}" y="{self.height - BOTTOM + 20}" text-anchor="middle">{text}</text>')
        titles = [
            f'<text x="{self.width / 2}" y="{self.height - 8}" text-anchor="middle">{below}</text>',
            f'<text x="{LEFT - 45}" y="14">mIoU on val, no tags</text></svg>',
        ]
        return "\n".join([*frame, *parts, *titles]) + "\n"
