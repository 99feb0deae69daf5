"""Charts as SVG; their colours come from the style sheet of the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

_LINE = Markup('<line class="{}" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>')
_TEXT = Markup('<text class="{}" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>')
_DOT = Markup('<circle class="dot tone{}" cx="{:.1f}" cy="{:.1f}" r="4"/>')
_BAR = Markup('<rect class="{}" x="{:.2f}" y="{}" width="{:.2f}" height="{}"/>')
_CHART = Markup(
    '<svg class="chart" role="img" aria-label="{title}" viewBox="0 0 {width} {height}">'
    "<title>{title}</title>{body}</svg>"
)
_SHARES = Markup('<svg class="shares" aria-hidden="true" viewBox="0 0 100 20" preserveAspectRatio="none">{}</svg>')


@dataclass(frozen=True)
class Line:
    """One line of a chart."""

    name: str
    values: Sequence[float | None]
    """One for each label of the horizontal axis; None = no point there."""


@dataclass(frozen=True)
class Frame:
    """Size of a chart and the margins around its axes, in units of its view box."""

    width: int
    height: int
    left: int = 40
    right: int = 16
    top: int = 30
    bottom: int = 28


STAGE_FRAME = Frame(560, 300, left=44, right=28, top=44, bottom=34)
CURVE_FRAME = Frame(280, 170, right=52, top=14)


def line_chart(
    title: str, labels: Sequence[str], lines: Sequence[Line], frame: Frame = STAGE_FRAME, point_values: bool = True
) -> Markup:
    """Draw at most four lines over labelled positions; an empty label is not drawn, the title is the alternative text.

    `point_values` marks every point with a dot and its value, else only the last one. A ValueError says that a line
    has not one value for each label, or that there is no value at all.
    """
    if any(len(line.values) != len(labels) for line in lines):
        raise ValueError(f"lines: must have {len(labels)} values, got {[len(line.values) for line in lines]}")
    present = [value for line in lines for value in line.values if value is not None]
    if not present:
        raise ValueError("lines: must hold at least one value, got none")
    ticks = nice_ticks(min(present), max(present))
    inset = 30 if point_values else 4
    first, last = frame.left + inset, frame.width - frame.right - inset
    steps = max(len(labels) - 1, 1)
    across = [first + (last - first) * index / steps for index in range(len(labels))]
    if len(labels) == 1:
        across = [(first + last) / 2]

    def down(value: float) -> float:
        room = frame.height - frame.top - frame.bottom
        return frame.height - frame.bottom - room * (value - ticks[0]) / (ticks[-1] - ticks[0])

    parts = []
    for tick in ticks:
        y = down(tick)
        parts.append(_LINE.format("grid", frame.left, frame.width - frame.right, y, y))
        parts.append(_TEXT.format("axis", frame.left - 8, y + 4, "end", _short(tick, ticks)))
    for x, label in zip(across, labels, strict=True):
        if label:
            parts.append(_TEXT.format("axis", x, frame.height - frame.bottom + 20, "middle", label))
    for number, line in enumerate(lines):
        points = [(x, value) for x, value in zip(across, line.values, strict=True) if value is not None]
        path = " ".join(f"{x:.1f},{down(value):.1f}" for x, value in points)
        parts.append(Markup('<polyline class="line tone{}" points="{}"/>').format(number, path))
        for x, value in points if point_values else points[-1:]:
            others = [other.values[across.index(x)] for other in lines if other is not line]
            under = any(other is not None and other > value for other in others)
            y, tone = down(value), f"value tone{number}"
            parts.append(_DOT.format(number, x, y))
            if point_values:
                parts.append(_TEXT.format(tone, x, y + 20 if under else y - 10, "middle", f"{value:.1f}"))
            else:
                parts.append(_TEXT.format(tone, x + 9, y + 4, "start", f"{value:.3g}"))
    if len(lines) > 1:
        left = float(frame.left)
        for number, line in enumerate(lines):
            parts.append(_LINE.format(f"line tone{number}", left, left + 20, 14, 14))
            parts.append(_TEXT.format("axis", left + 26, 18, "start", line.name))
            left += 58 + 7.5 * len(line.name)
    return _CHART.format(title=title, width=frame.width, height=frame.height, body=Markup("").join(parts))


def share_bar(iou: float, false_positive: float, false_negative: float, start: float | None) -> Markup:
    """Draw the union of one class as hit, false positive and false negative, in percent, which make 100.

    Above it, thin, is `start`, an earlier IoU in percent, if there is one. The table beside it holds the numbers,
    so that the bar is hidden from screen readers.
    """
    parts = [] if start is None else [("start", 0.0, 0, start, 5)]
    top, height = (0, 18) if start is None else (7, 13)
    parts += [
        ("hit", 0.0, top, iou, height),
        ("extra", iou, top, false_positive, height),
        ("lost", iou + false_positive, top, false_negative, height),
    ]
    return _SHARES.format(Markup("").join(_BAR.format(*bar) for bar in parts))


def nice_ticks(low: float, high: float, maximum: int = 5) -> list[float]:
    """Return round numbers at equal steps that enclose a range: at least two and about `maximum`.

    The range must be finite and in order, or it is a ValueError.
    """
    if not (math.isfinite(low) and math.isfinite(high)) or low > high:
        raise ValueError(f"low, high: must be finite and in order, got {low} and {high}")
    size = max(abs(low), abs(high))
    span = high - low
    # A constant gets a range of its own, so that rounding errors do not look like a slope.
    if span <= 1e-6 * size or size < 1e-9:
        span = 0.1 * size if size >= 1e-9 else 1.0
    rough = span / (maximum - 1)
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * unit for factor in (1, 2, 2.5, 5, 10) if factor * unit >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{index * step:.12g}") for index in range(first, max(last, first + 1) + 1)]


def _short(tick: float, ticks: Sequence[float]) -> str:
    def exact(digits: int) -> bool:
        return all(math.isclose(round(other, digits), other, abs_tol=1e-9) for other in ticks)

    digits = max(0, -math.floor(math.log10(ticks[1] - ticks[0]) + 1e-9))
    # A step of 0.25 needs one digit more than its magnitude suggests.
    return next(f"{tick:.{d}f}" for d in range(digits, digits + 4) if exact(d))
