"""Creatures of the built-in scenes: a discriminative head on a body that all classes share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FIRST_HEAD_SLOT = 16
"""Palette slots from this one on are colours of heads, those before of bodies."""


@dataclass(frozen=True)
class Patch:
    """A closed polygon filled with one colour."""

    points: np.ndarray
    """Corners, float (n, 2): x to the right, y down."""
    slot: int


def disc(x: float, y: float, width: float, height: float | None = None, tilt: float = 0.0) -> np.ndarray:
    """Return the outline of an ellipse by its centre, half axes and tilt in degrees."""
    turn = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    flat = np.stack([width * np.cos(turn), (height or width) * np.sin(turn)], axis=1)
    angle = np.radians(tilt)
    rotation = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return np.asarray(flat @ rotation + (x, y))


def _corners(text: str) -> np.ndarray:
    """Parse points written as "x,y x,y ..."."""
    return np.array([[float(number) for number in point.split(",")] for point in text.split()])


def _smooth(text: str, mirror: bool = False) -> np.ndarray:
    """Return a closed Catmull-Rom curve; `mirror` adds the reflection in x of a left half, bottom up."""
    points = _corners(text)
    if mirror:
        points = np.concatenate([points, (points * (-1, 1))[::-1]])
    before, after, beyond = np.roll(points, 1, 0), np.roll(points, -1, 0), np.roll(points, -2, 0)
    t = np.linspace(0, 1, 8, endpoint=False)[:, None, None]
    curve = 0.5 * (
        2 * points
        + (after - before) * t
        + (2 * before - 5 * points + 4 * after - beyond) * t**2
        + (3 * points - before - 3 * after + beyond) * t**3
    )
    return np.asarray(curve.transpose(1, 0, 2).reshape(-1, 2))


def _pair(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return an outline and its reflection in x."""
    return points, points * (-1, 1)


def _both(points: np.ndarray, colour: str) -> list[tuple[np.ndarray, str]]:
    return [(outline, colour) for outline in _pair(points)]


_INK, _CREAM, _WHITE = "35302f", "fbf3e4", "ffffff"
_EYES = [*_both(disc(-0.36, -0.02, 0.12, 0.15), _INK), *((disc(x, -0.08, 0.045), _WHITE) for x in (-0.33, 0.39))]

_HEADS: dict[str, list[tuple[np.ndarray, str]]] = {
    "fox": [
        *_both(_corners("-0.98,-1.25 -0.92,-0.1 -0.12,-0.62"), "c9562a"),
        *_both(_corners("-0.9,-1.06 -0.84,-0.45 -0.42,-0.66"), "4a3430"),
        (_smooth("-0.12,0.95 -0.62,0.62 -1.15,0.3 -0.86,-0.35 -0.4,-0.68", mirror=True), "e5733a"),
        *_both(_smooth("-0.05,0.9 -0.6,0.62 -1.1,0.32 -0.5,0.2 -0.08,0.4"), _CREAM),
        *_EYES,
        (disc(0, 0.78, 0.19, 0.15), _INK),
    ],
    "owl": [
        *_both(_corners("-0.85,-1.2 -0.95,-0.3 -0.2,-0.8"), "6b4a3a"),
        (disc(0, 0, 1.02, 0.95), "8a6249"),
        *_both(disc(-0.44, -0.02, 0.5, 0.56), "f1dfc0"),
        *_both(disc(-0.42, -0.04, 0.34), "f2b733"),
        *_both(disc(-0.4, -0.04, 0.19), _INK),
        *((disc(x, -0.12, 0.07), _WHITE) for x in (-0.34, 0.46)),
        (_corners("-0.16,0.2 0.16,0.2 0,0.58"), "e08a2e"),
    ],
    "panda": [
        *_both(disc(-0.78, -0.74, 0.36), "33343a"),
        (disc(0, 0.02, 1.06, 0.94), "fbfaf6"),
        *_both(disc(-0.43, 0.0, 0.27, 0.36, 28), "33343a"),
        *((disc(x, -0.06, 0.1), _WHITE) for x in (-0.38, 0.38)),
        (disc(0, 0.4, 0.17, 0.12), "33343a"),
        (disc(0, 0.62, 0.22, 0.05), "8b8583"),
    ],
    "frog": [
        *_both(disc(-0.56, -0.64, 0.42), "5da045"),
        (_smooth("-0.3,0.84 -0.95,0.55 -1.12,0 -0.7,-0.52 -0.2,-0.6", mirror=True), "6fb552"),
        *_both(disc(-0.56, -0.66, 0.3), _CREAM),
        *_both(disc(-0.54, -0.64, 0.17), _INK),
        (_smooth("-0.8,0.12 -0.4,0.32 0,0.38 0.4,0.32 0.8,0.12 0.42,0.5 0,0.6 -0.42,0.5"), "2f5b34"),
        *_both(disc(-0.84, 0.22, 0.17, 0.13), "ee9f8c"),
    ],
    "pig": [
        *_both(_smooth("-1,-0.98 -0.98,-0.3 -0.3,-0.72"), "d9788c"),
        (disc(0, 0, 1.04, 0.95), "f4aebb"),
        *_EYES,
        (disc(0, 0.36, 0.46, 0.34), "d9788c"),
        *_both(disc(-0.17, 0.36, 0.09, 0.14), "8a3d51"),
    ],
    "rabbit": [
        *_both(disc(-0.42, -1.25, 0.27, 0.78, 8), "b9aca6"),
        *_both(disc(-0.42, -1.2, 0.14, 0.56, 8), "f2b8b5"),
        (disc(0, 0.05, 0.98, 0.88), "cdc2bc"),
        *_EYES,
        (disc(0, 0.45, 0.42, 0.32), _WHITE),
        (disc(0, 0.3, 0.14, 0.1), "e0708a"),
    ],
    "koala": [
        *_both(disc(-0.96, -0.42, 0.52), "848c96"),
        *_both(disc(-0.98, -0.4, 0.3), "e6cdd2"),
        (disc(0, 0.05, 0.92, 0.9), "9ea7b1"),
        *_EYES,
        (disc(0, 0.25, 0.22, 0.36), _INK),
    ],
    "penguin": [
        (disc(0, 0, 1.0, 0.98), "2f3f5c"),
        *_both(disc(-0.36, 0.08, 0.44, 0.5), _WHITE),
        (disc(0, 0.5, 0.6, 0.36), _WHITE),
        *_EYES,
        (_corners("-0.28,0.22 0.28,0.22 0,0.56"), "f0972f"),
    ],
}

HEAD_COLOURS: tuple[str, ...] = tuple(sorted({colour for parts in _HEADS.values() for _, colour in parts}))
"""Colours of the palette slots from `FIRST_HEAD_SLOT` on, in hexadecimal digits."""

HEADS: dict[str, tuple[Patch, ...]] = {
    name: tuple(Patch(points, FIRST_HEAD_SLOT + HEAD_COLOURS.index(colour)) for points, colour in parts)
    for name, parts in _HEADS.items()
}
"""The discriminative part of each class, in units of the head's radius, back to front."""


@dataclass(frozen=True)
class Body:
    """A body that every class shares, about two units high or wide."""

    limbs: tuple[np.ndarray, ...]
    """Outlines of feet, arms and tail, below the body."""
    outline: np.ndarray
    neck: tuple[float, float]
    head: float
    """Radius of the head."""


BODIES: dict[str, Body] = {
    "pear": Body(
        (*_pair(disc(-0.4, 0.92, 0.27, 0.16)), *_pair(disc(-0.78, 0.12, 0.17, 0.3, -28))),
        _smooth("-0.3,0.97 -0.8,0.64 -0.76,0.1 -0.42,-0.5 -0.15,-0.72", mirror=True),
        (0.0, -0.78),
        0.36,
    ),
    "tall": Body(
        (*_pair(disc(-0.24, 1.12, 0.2, 0.14)), *_pair(disc(-0.56, -0.02, 0.13, 0.32, -14))),
        _smooth("-0.2,1.14 -0.54,0.85 -0.56,0.1 -0.42,-0.7 -0.15,-0.85", mirror=True),
        (0.0, -0.92),
        0.33,
    ),
    "loaf": Body(
        (*(disc(x, 0.62, 0.16, 0.2) for x in (-0.75, -0.35, 0.45, 0.85)), disc(1.25, -0.2, 0.2)),
        _smooth("-1.1,0.3 -1,-0.3 -0.3,-0.45 0.6,-0.52 1.15,-0.15 1.15,0.4 0.5,0.62 -0.6,0.6"),
        (-1.0, -0.32),
        0.37,
    ),
    "dome": Body(
        (*(disc(x, 0.6, 0.2, 0.14) for x in (-0.6, 0.1, 0.75)), disc(1.1, 0.4, 0.24, 0.14)),
        _smooth("-1,0.5 -0.85,-0.15 -0.2,-0.68 0.5,-0.62 1,-0.05 1.05,0.5 0,0.62"),
        (-0.85, 0.0),
        0.37,
    ),
    "curl": Body(
        (disc(1.08, -0.62, 0.22), *(disc(x, 0.74, 0.15, 0.14) for x in (-0.5, 0.2))),
        _smooth("-1,-0.4 -0.45,-0.45 -0.2,0.05 0.3,0.1 0.6,-0.5 1.1,-0.6 1.15,-0.1 0.8,0.55 0.1,0.76 -0.6,0.7 -1,0.25"),
        (-0.72, -0.55),
        0.36,
    ),
}
"""Body shapes by name: any class may wear any of them."""

SUITS: dict[str, str] = {
    "coral": "e07a5f",
    "mustard": "e0b04c",
    "sage": "86a873",
    "teal": "3d8b8b",
    "sky": "7fb2d9",
    "navy": "4a5f8c",
    "lavender": "a48cc4",
    "rose": "d88fa8",
    "cream": "efe3cb",
    "plum": "7d4f73",
    "brick": "a84f47",
    "slate": "7a828c",
}
