"""Charts as SVG, drawn by hand; their colours come from the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from igcam.reporting.markup import Markup, element, join


@dataclass(frozen=True)
class Line:
    """One line of a chart."""

    name: str
    """Shown in the legend."""
    values: Sequence[float | None]
    """One for each place on the horizontal axis; None = no point there."""


@dataclass(frozen=True)
class Frame:
    """Size of a chart and the space around its axes, in pixels of the drawing."""

    width: int
    height: int
    left: int = 40
    right: int = 16
    top: int = 30
    bottom: int = 28


STAGE_FRAME = Frame(560, 300, left=44, right=28, top=44, bottom=34)
CURVE_FRAME = Frame(280, 170, right=52, top=14)


def line_chart(
    title: str,
    labels: Sequence[str],
    lines: Sequence[Line],
    frame: Frame = STAGE_FRAME,
    point_values: bool = True,
) -> Markup:
    """Draw lines over a few named places.

    Args:
        title: What is shown, for those who cannot see it.
        labels: Names of the places; an empty one is not drawn.
        lines: At most four, of as many values as there are labels.
        frame: Size of the drawing.
        point_values: Whether every point gets a dot and its value; otherwise the last one alone does.

    Raises:
        ValueError: A line has not as many values as there are labels, or there is no value at all.
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

    parts = [element("title", title)]
    parts += [_grid_line(frame, down(tick), _short(tick, ticks)) for tick in ticks]
    parts += [
        _text(x, frame.height - frame.bottom + 20, label, "axis", "middle")
        for x, label in zip(across, labels, strict=True)
        if label
    ]
    for number, line in enumerate(lines):
        points = [(x, value) for x, value in zip(across, line.values, strict=True) if value is not None]
        shown = points if point_values else points[-1:]
        path = " ".join(f"{x:.1f},{down(value):.1f}" for x, value in points)
        parts.append(element("polyline", class_=f"line tone{number}", points=path))
        for x, value in shown:
            others = [other.values[across.index(x)] for other in lines if other is not line]
            under = any(other is not None and other > value for other in others)
            y = down(value)
            parts.append(element("circle", class_=f"dot tone{number}", cx=f"{x:.1f}", cy=f"{y:.1f}", r=4))
            if point_values:
                parts.append(_text(x, y + 20 if under else y - 10, f"{value:.1f}", f"value tone{number}", "middle"))
            else:
                parts.append(_text(x + 9, y + 4, f"{value:.3g}", f"value tone{number}", "start"))
    if len(lines) > 1:
        parts.append(_legend(frame, lines))
    return element(
        "svg", *parts, class_="chart", role="img", aria_label=title, viewBox=f"0 0 {frame.width} {frame.height}"
    )


def share_bar(iou: float, false_positive: float, false_negative: float, start: float | None) -> Markup:
    """Draw how one class's union divides: found, false alarms, missed; above it, thin, the IoU at the start.

    The numbers stand beside it in the table, so that it is hidden from screen readers.

    Args:
        iou: Percent.
        false_positive: Percent.
        false_negative: Percent; the three make 100.
        start: IoU after the first stage in percent; None for no thin bar.
    """
    parts = [] if start is None else [_bar(0, start, 0, 5, "start")]
    top, height = (0, 18) if start is None else (7, 13)
    parts += [
        _bar(0, iou, top, height, "hit"),
        _bar(iou, false_positive, top, height, "extra"),
        _bar(iou + false_positive, false_negative, top, height, "lost"),
    ]
    box = {"viewBox": "0 0 100 20", "preserveAspectRatio": "none"}
    return element("svg", *parts, class_="shares", aria_hidden="true", **box)


def nice_ticks(low: float, high: float, maximum: int = 5) -> list[float]:
    """Return round numbers at equal steps that enclose a range: at least two and about `most`.

    Raises:
        ValueError: The range is not finite or the wrong way round.
    """
    if not (math.isfinite(low) and math.isfinite(high)) or low > high:
        raise ValueError(f"low, high: must be finite and in order, got {low} and {high}")
    size = max(abs(low), abs(high))
    span = high - low
    # A level line gets room of its own, so that rounding is no slope.
    if span <= 1e-6 * size or size < 1e-9:
        span = 0.1 * size if size >= 1e-9 else 1.0
    rough = span / (maximum - 1)
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * unit for factor in (1, 2, 2.5, 5, 10) if factor * unit >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{index * step:.12g}") for index in range(first, max(last, first + 1) + 1)]


def _bar(left: float, width: float, top: float, height: float, kind: str) -> Markup:
    return element("rect", class_=kind, x=f"{left:.2f}", y=top, width=f"{max(width, 0):.2f}", height=height)


def _grid_line(frame: Frame, y: float, label: str) -> Markup:
    end = frame.width - frame.right
    line = element("line", class_="grid", x1=frame.left, x2=end, y1=f"{y:.1f}", y2=f"{y:.1f}")
    return join(line, _text(frame.left - 8, y + 4, label, "axis", "end"))


def _legend(frame: Frame, lines: Sequence[Line]) -> Markup:
    parts, left = [], float(frame.left)
    for number, line in enumerate(lines):
        parts.append(element("line", class_=f"line tone{number}", x1=left, x2=left + 20, y1=14, y2=14))
        parts.append(_text(left + 26, 18, line.name, "axis", "start"))
        left += 58 + 7.5 * len(line.name)
    return join(*parts)


def _text(x: float, y: float, text: str, class_: str, anchor: str) -> Markup:
    return element("text", text, class_=class_, x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor)


def _short(tick: float, ticks: Sequence[float]) -> str:
    digits = max(0, -math.floor(math.log10(ticks[1] - ticks[0]) + 1e-9))
    # A step of 0.25 needs one digit more than its size tells.
    return next(f"{tick:.{d}f}" for d in range(digits, digits + 4) if _exact(ticks, d))


def _exact(ticks: Sequence[float], digits: int) -> bool:
    return all(math.isclose(round(tick, digits), tick, abs_tol=1e-9) for tick in ticks)
