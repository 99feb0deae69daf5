"""Large images in overlapping tiles: where to cut, and how soft masks of tiles become one without a seam."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Planes = dict[int, Array]
"""Soft masks by class id."""


def cut(side: int, tile: int, overlap: int) -> list[slice]:
    """Cut a side of an image into equal parts, none longer than a tile, neighbours overlapping by `overlap` pixels.

    Raises:
        ValueError: The overlap is negative, or more than a third of a tile.
    """
    if not 0 <= 3 * overlap <= tile:
        raise ValueError(f"overlap: must be 0 to a third of a tile of {tile}, got {overlap}")
    count = max(1, math.ceil((side - overlap) / (tile - overlap)))
    step = math.ceil((side - overlap) / count)
    starts = range(0, max(side - overlap, 1), max(step, 1))
    return [slice(start, min(start + step + overlap, side)) for start in starts]


def rise(overlap: int) -> Array:
    """Return how much the second of two neighbours counts along their overlap, float32 (overlap,).

    The first counts for the rest. Nothing near the edge of a tile counts, where it lacks context; between lies half a
    wave.
    """
    position = (np.arange(overlap) + 0.5) / max(overlap, 1)
    weight: Array = (np.sin(np.pi / 2 * np.clip(2 * position - 0.5, 0, 1)) ** 2).astype(np.float32)
    return weight


@dataclass(frozen=True)
class Region:
    """A part of the image to which no further tile will add."""

    rows: slice
    columns: slice
    ids: NDArray[np.uint8]
    """uint8 (K,), ascending."""
    probability: Array
    """float32 (K, h, w), the weighted mean of the tiles."""


class Mosaic:
    """Blends the soft masks of tiles, row by row.

    Memory holds, of the classes that occur, one tile and the overlap with the row of tiles before: how wide an image is
    counts, not how many pixels it has.
    """

    def __init__(self, rows: Sequence[slice], columns: Sequence[slice]) -> None:
        """Begin a mosaic of tiles cut by `cut`."""
        self._rows, self._columns = rows, columns
        self._above: Planes = {}
        self._below: Planes = {}
        self._left: Planes = {}

    def add(self, row: int, column: int, ids: NDArray[np.uint8], probability: NDArray[np.floating]) -> Region:
        """Take the next tile, left to right and top to bottom; return what is finished by it.

        Args:
            row: Place among the rows of tiles.
            column: Place among the columns of tiles.
            ids: uint8 (K,), the classes of this tile.
            probability: Floats (K, h, w) of its size.
        """
        if column == 0:
            self._left = {}
            self._above, self._below = self._below, {}
        rows, columns = self._rows[row], self._columns[column]
        down, across = _finished(self._rows, row), _finished(self._columns, column)
        weight = _weights(self._rows, row)[:, None] * _weights(self._columns, column)
        left, self._left = self._left, {}
        tile = dict(zip(ids.tolist(), probability, strict=True))
        reached = {number for number, plane in self._above.items() if plane[:, columns.start : across].any()}
        every = sorted(tile.keys() | left.keys() | reached)
        result = np.empty((len(every), down - rows.start, across - columns.start), np.float32)
        for position, number in enumerate(every):
            plane: Array = tile[number] * weight if number in tile else np.zeros(weight.shape, np.float32)
            if number in left:
                plane[:, : left[number].shape[1]] += left[number]
            height, width = result.shape[1:]
            result[position] = plane[:height, :width]
            if number in self._above:
                above = self._above[number][:, columns.start : across]
                result[position, : len(above)] += above
            if height < len(plane):
                below = self._below.setdefault(
                    number, np.zeros((len(plane) - height, self._columns[-1].stop), np.float32)
                )
                below[:, columns.start : across] = plane[height:, :width]
            if width < plane.shape[1]:
                self._left[number] = plane[:, width:].copy()
        return Region(slice(rows.start, down), slice(columns.start, across), np.array(every, np.uint8), result)


def window(stack: NDArray[np.floating], rows: slice, columns: slice, height: int, width: int, minimum: int) -> Array:
    """Return the part of a coarse stack of maps that covers one tile of its image.

    Args:
        stack: Floats (K, h, w) that cover the whole image.
        rows: Of the tile.
        columns: Of the tile.
        height: Of the image.
        width: Of the image.
        least: Places a side that the part has at least, where the tile has so many pixels; else as dense as the stack.

    Returns:
        float32 (K, h', w').
    """
    locations = [
        _locations(part, side, size, minimum)
        for part, side, size in ((rows, height, stack.shape[1]), (columns, width, stack.shape[2]))
    ]
    across, down = np.meshgrid(locations[1], locations[0])
    layers = [
        cv2.remap(np.asarray(layer, np.float32), across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        for layer in stack
    ]
    return np.stack(layers)


def _locations(part: slice, side: int, size: int, minimum: int) -> Array:
    """Return where the centres of the part's places lie in a map of `size` places along a side."""
    length = part.stop - part.start
    count = min(length, max(minimum, math.ceil(size * length / side)))
    centres = part.start + (np.arange(count) + 0.5) * length / count
    return (centres * size / side - 0.5).astype(np.float32)


def _finished(parts: Sequence[slice], index: int) -> int:
    """Return where the next part begins, or the end."""
    return int(parts[index].stop if index + 1 == len(parts) else parts[index + 1].start)


def _weights(parts: Sequence[slice], index: int) -> Array:
    part = parts[index]
    weight = np.ones(part.stop - part.start, np.float32)
    if index > 0:
        ramp = rise(parts[index - 1].stop - part.start)
        weight[: len(ramp)] *= ramp
    if index + 1 < len(parts):
        ramp = rise(part.stop - parts[index + 1].start)
        weight[len(weight) - len(ramp) :] *= 1 - ramp
    return weight
