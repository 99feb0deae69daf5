"""Textures of the built-in scenes: backgrounds, and patterns of knitted suits."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

Colour = tuple[int, int, int]
_SHIFT = 4


def rgb(code: str) -> Colour:
    """Return (red, green, blue), 0 to 255, of a colour written as six hexadecimal digits."""
    return int(code[0:2], 16), int(code[2:4], 16), int(code[4:6], 16)


def _noise(rng: np.random.Generator, size: int, cells: int | tuple[int, int]) -> np.ndarray:
    """Return smooth noise, float32 (size, size), mostly in 0..1, interpolated from a grid of `cells`."""
    rows, columns = (cells, cells) if isinstance(cells, int) else cells
    grid = rng.random((rows, columns), dtype=np.float32)
    return np.asarray(cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC))


def _mix(first: str, second: str, share: np.ndarray) -> np.ndarray:
    """Blend two colours by a share in 0..1 at every pixel: uint8 (H, W, 3)."""
    low, high = (np.array(rgb(code), dtype=np.float32) for code in (first, second))
    return np.asarray(low + (high - low) * np.clip(share, 0, 1)[..., None]).astype(np.uint8)


def _depth(size: int) -> np.ndarray:
    """Return a column that runs from 0 at the top to 1 at the bottom."""
    return np.linspace(0, 1, size, dtype=np.float32)[:, None]


def _oval(image: np.ndarray, centre: np.ndarray, axes: tuple[float, float], angle: float, colour: Colour) -> None:
    """Draw one filled, anti-aliased ellipse; centre and half axes in pixels, angle in degrees."""
    scale = 1 << _SHIFT
    middle = (round(float(centre[0]) * scale), round(float(centre[1]) * scale))
    half = (max(1, round(axes[0] * scale)), max(1, round(axes[1] * scale)))
    cv2.ellipse(image, middle, half, angle, 0, 360, colour, -1, cv2.LINE_AA, _SHIFT)


def _strokes(image: np.ndarray, starts: np.ndarray, steps: np.ndarray, colour: str, width: int = 1) -> None:
    """Draw straight anti-aliased strokes, each from a start by a step, in pixels."""
    lines = np.stack([starts, starts + steps], axis=1)
    points = np.round(lines * (1 << _SHIFT)).astype(np.int32)
    cv2.polylines(image, list(points), False, rgb(colour), width, cv2.LINE_AA, _SHIFT)


def _meadow(rng: np.random.Generator, size: int) -> np.ndarray:
    image = _mix("7fae5c", "a9cc76", 0.75 * _noise(rng, size, 7) + 0.25 * (1 - _depth(size)))
    for colour, count in (("6b9a4e", 90), ("c2dc8e", 60)):
        starts = rng.random((count, 2)) * size
        steps = np.stack([rng.normal(0, 0.010, count), -rng.uniform(0.02, 0.05, count)], axis=1) * size
        _strokes(image, starts, steps, colour)
    for centre in rng.random((7, 2)) * size:
        petal = rgb(("fff8ec", "f7e08a", "e9c6e6")[rng.integers(3)])
        for turn in np.arange(5) * 1.2566:
            offset = 0.011 * size * np.array([np.cos(turn), np.sin(turn)])
            _oval(image, centre + offset, (0.008 * size, 0.008 * size), 0, petal)
        _oval(image, centre, (0.007 * size, 0.007 * size), 0, rgb("e8b54a"))
    return image


def _pond(rng: np.random.Generator, size: int) -> np.ndarray:
    waves = np.sin(2 * np.pi * (10 * _depth(size) + 1.3 * _noise(rng, size, (5, 4))))
    image = _mix("3f8fa3", "7cc3c9", 0.45 + 0.28 * waves + 0.4 * (_noise(rng, size, 4) - 0.5))
    starts = rng.random((26, 2)) * size
    _strokes(image, starts, np.stack([rng.uniform(0.03, 0.09, 26), np.zeros(26)], axis=1) * size, "b9e3e2")
    for centre in rng.random((4, 2)) * size:
        radius = rng.uniform(0.04, 0.07) * size
        _oval(image, centre + 0.01 * size, (radius, 0.7 * radius), 0, rgb("37798a"))
        _oval(image, centre, (radius, 0.7 * radius), 0, rgb("5f9f63"))
        _oval(image, centre - 0.1 * radius, (0.7 * radius, 0.46 * radius), 0, rgb("77b472"))
        _strokes(image, centre[None], np.array([[0.9, -0.5]]) * radius, "37798a", 1)
    return image


def _beach(rng: np.random.Generator, size: int) -> np.ndarray:
    across = np.linspace(0, 1, size, dtype=np.float32)[None]
    ripples = np.sin(2 * np.pi * (8 * (_depth(size) + 0.35 * across) + 2.0 * _noise(rng, size, 4)))
    image = _mix("d9bd8b", "f3e0b5", 0.55 + 0.3 * ripples)
    for centre in rng.random((40, 2)) * size:
        _oval(image, centre, (0.005 * size, 0.005 * size), 0, rgb(("c4a471", "fdf2d5")[rng.integers(2)]))
    for centre in rng.random((8, 2)) * size:
        axes = (rng.uniform(0.015, 0.03) * size, rng.uniform(0.012, 0.02) * size)
        angle = rng.uniform(0, 180)
        _oval(image, centre + 0.008 * size, axes, angle, rgb("bb9f6e"))
        _oval(image, centre, axes, angle, rgb(("a8a29a", "e6b7a0", "f6efe2", "8e8f96")[rng.integers(4)]))
    return image


def _snow(rng: np.random.Generator, size: int) -> np.ndarray:
    drifts = np.sin(2 * np.pi * (3 * _depth(size) + 1.8 * _noise(rng, size, 3)))
    image = _mix("c3d6e8", "f4f8fc", 0.6 + 0.4 * drifts)
    for centre in rng.random((70, 2)) * size:
        radius = rng.uniform(0.003, 0.009) * size
        _oval(image, centre, (radius, radius), 0, rgb(("ffffff", "aec6de")[rng.integers(2)]))
    track, heading = rng.random(2) * size, rng.uniform(-0.8, 0.8)
    for step in range(12):
        side = 0.022 * (-1) ** step
        along = np.array([np.cos(heading), np.sin(heading)]) * 0.075 * step
        centre = (track + size * (along + side * np.array([-np.sin(heading), np.cos(heading)]))) % size
        _oval(image, centre, (0.016 * size, 0.01 * size), np.degrees(heading), rgb("a3bdd8"))
    return image


def _leaves(rng: np.random.Generator, size: int) -> np.ndarray:
    image = _mix("7d5a43", "96704f", _noise(rng, size, 9))
    hues = [rgb(code) for code in ("b5643c", "c98a45", "a5794a", "d6a95a", "8f5b45", "b9904f", "94503a")]
    shade, count = rgb("6b4b39"), 95
    centres = (rng.random((count, 2)) * 1.1 - 0.05) * size
    lengths, angles = rng.uniform(0.035, 0.06, count) * size, rng.uniform(0, 180, count)
    turns = np.radians(angles)
    veins = 0.8 * lengths[:, None] * np.stack([np.cos(turns), np.sin(turns)], axis=1)
    kinds = rng.integers(len(hues), size=count)
    for centre, length, angle, vein, kind in zip(centres, lengths, angles, veins, kinds, strict=True):
        _oval(image, centre + 0.008 * size, (length, 0.45 * length), angle, shade)
        _oval(image, centre, (length, 0.45 * length), angle, hues[kind])
        _strokes(image, (centre - vein)[None], 2 * vein[None], "7d5a43")
    return image


def _floor(rng: np.random.Generator, size: int) -> np.ndarray:
    board = int(rng.integers(5, 8))
    rows = np.minimum(np.arange(size) * board // size, board - 1)
    grain = _noise(rng, size, (64, 4)) * 0.45 + rng.random(board, dtype=np.float32)[rows][:, None] * 0.55
    image = _mix("b58f73", "d6b596", grain)
    for row in range(1, board + 1):
        height = row * size / board
        _strokes(image, np.array([[0.0, height]]), np.array([[float(size), 0.0]]), "8a6a54")
        joint = np.array([[rng.random() * size, height - size / board]])
        _strokes(image, joint, np.array([[0.0, size / board]]), "8a6a54")
    return image


GROUNDS = {"meadow": _meadow, "pond": _pond, "beach": _beach, "snow": _snow, "leaves": _leaves, "floor": _floor}
"""Backgrounds by name: each draws uint8 (size, size, 3) from a random generator and a side in pixels."""


def draw_ground(name: str, rng: np.random.Generator, size: int, strength: float) -> np.ndarray:
    """Draw one background, a key of `GROUNDS`: uint8 (size, size, 3), RGB.

    `strength` is the contrast of the texture around its mean colour: 0 is flat, 1 as designed.
    """
    image = GROUNDS[name](rng, size).astype(np.float32)
    mean = image.mean(axis=(0, 1))
    return np.asarray(np.clip(mean + strength * (image - mean), 0, 255)).astype(np.uint8)


def _fraction(values: np.ndarray) -> np.ndarray:
    return np.asarray(values - np.floor(values))


def _dots(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    odd = 0.5 * (np.floor(v) % 2)
    return np.asarray((_fraction(u + odd) - 0.5) ** 2 + (_fraction(v) - 0.5) ** 2 < 0.07)


PATTERNS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "plain": lambda u, v: np.zeros(u.shape, dtype=bool),
    "hoops": lambda u, v: np.asarray(_fraction(v) < 0.42),
    "stripes": lambda u, v: np.asarray(_fraction(u) < 0.38),
    "dots": _dots,
    "checks": lambda u, v: np.asarray((np.floor(u) + np.floor(v)) % 2 == 0),
    "zigzag": lambda u, v: np.asarray(_fraction(v + 0.7 * np.abs(_fraction(u) - 0.5)) < 0.4),
}
"""Suit patterns by name: where the accent colour goes, given coordinates in pattern repeats."""
