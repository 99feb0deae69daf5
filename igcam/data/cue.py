"""Instance cues: points, boxes, scribbles and masks on an image."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from igcam.data.masks import IGNORE, MaskSource

Vector = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Cue:
    """Base of all cues.

    Coordinates are in pixels of the displayed image, x to the right and y down, with the corner of the
    image at (0, 0): the pixel in column j and row i covers j <= x < j + 1 and i <= y < i + 1.
    """

    kind: ClassVar[str]
    label: int | None
    """Mask id: 0 = background, 1..C = a class; None only for a mask of the whole image."""
    instance: str | int | None = None
    """Cues of one image with the same instance mark the same object; None = unknown."""
    confidence: float = 1.0
    """Confidence in the cue, 0 to 1."""
    seconds: float | None = None
    """Annotation time; None = not measured."""

    def region(self, height: int, width: int) -> NDArray[np.bool_]:
        """Return the pixels that the cue labels in an image of that size, bool (height, width)."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class PointCue(Cue):
    """One click on an object or on the background."""

    kind: ClassVar[str] = "point"
    x: float
    y: float

    def region(self, height: int, width: int) -> NDArray[np.bool_]:
        """Return the one pixel under the point."""
        return _filled(height, width, int(self.y), int(self.x))


@dataclass(frozen=True, kw_only=True)
class BoxCue(Cue):
    """A tight box around one object; a whole number is an edge between two pixels."""

    kind: ClassVar[str] = "box"
    left: float
    top: float
    right: float
    bottom: float

    def region(self, height: int, width: int) -> NDArray[np.bool_]:
        """Return every pixel that the box overlaps."""
        rows = slice(int(self.top), int(np.ceil(self.bottom)))
        return _filled(height, width, rows, slice(int(self.left), int(np.ceil(self.right))))


@dataclass(frozen=True, kw_only=True)
class ScribbleCue(Cue):
    """A freehand line on an object or on the background."""

    kind: ClassVar[str] = "scribble"
    points: tuple[tuple[float, float], ...]
    """Corners (x, y) of the line in order; a single one is a dot."""
    width: float = 3.0
    """Width of the pen in pixels."""

    def region(self, height: int, width: int) -> NDArray[np.bool_]:
        """Return the pixels that the line crosses and those whose centre is under the pen."""
        corners = [*self.points, self.points[-1]]
        canvas = np.zeros((height, width), np.uint8)
        cv2.polylines(canvas, [np.floor(corners).astype(np.int32)], False, 1)
        for start, end in pairwise(np.array(corners)):
            _draw_segment(canvas, start, end, self.width / 2)
        return canvas.astype(bool)


@dataclass(frozen=True, kw_only=True)
class MaskCue(Cue):
    """A mask: of one object where `label` is a class, of the whole image where it is None."""

    kind: ClassVar[str] = "mask"
    source: MaskSource
    """Whole image: ids 0..C and 255 = unknown. One object: any ids, see `value`."""
    label: int | None = None
    value: int | None = None
    """For one object: the id that is the object; None = every id but 0."""

    def region(self, height: int, width: int) -> NDArray[np.bool_]:
        """Return the object's pixels; of a mask of the whole image those that are not 255."""
        mask = self.source.read()
        if mask.shape != (height, width):
            raise ValueError(f"mask must be {height} x {width} as its image, got {mask.shape[0]} x {mask.shape[1]}")
        if self.label is None:
            return np.not_equal(mask, IGNORE)
        return np.not_equal(mask, 0) if self.value is None else np.equal(mask, self.value)


def _filled(height: int, width: int, rows: int | slice, columns: int | slice) -> NDArray[np.bool_]:
    canvas = np.zeros((height, width), bool)
    canvas[rows, columns] = True
    return canvas


def _draw_segment(canvas: NDArray[np.uint8], start: Vector, end: Vector, radius: float) -> None:
    low = np.floor(np.minimum(start, end) - radius).astype(int).clip(0)
    high = np.ceil(np.maximum(start, end) + radius).astype(int).clip(0)
    window = canvas[low[1] : high[1], low[0] : high[0]]
    rows, columns = np.indices(window.shape)
    centres = np.stack([columns + low[0], rows + low[1]], -1) + 0.5 - start
    line = end - start
    along = (centres @ line / max(float(line @ line), 1e-12)).clip(0, 1)
    distance = np.linalg.norm(centres - along[..., None] * line, axis=-1)
    window[distance < radius] = 1
