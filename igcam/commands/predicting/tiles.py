"""Large photos in overlapping tiles: cut, and blended from the soft masks of their tiles without a seam."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from igcam.data.sample import Sample
from igcam.refine.stack import best_class

Array = NDArray[np.float32]
Planes = dict[int, Array]
"""Soft masks by class id."""
GRID = 48
"""Smallest side in locations of the scores of a tile that are cut from those of the whole photo."""


def cut(side: int, tile: int, overlap: int) -> list[slice]:
    """Cut a side of an image into equal parts, none longer than a tile, neighbours overlapping by `overlap` pixels.

    The overlap is 0 to a third of a tile, else ValueError.
    """
    if not 0 <= 3 * overlap <= tile:
        raise ValueError(f"overlap: must be 0 to a third of a tile of {tile}, got {overlap}")
    count = max(1, math.ceil((side - overlap) / (tile - overlap)))
    step = math.ceil((side - overlap) / count)
    starts = range(0, max(side - overlap, 1), max(step, 1))
    return [slice(start, min(start + step + overlap, side)) for start in starts]


def rise(overlap: int) -> Array:
    """Return the weight of the second of two neighbours along their overlap, float32 (overlap,), rising from 0 to 1.

    The first has the rest. The outer quarter next to the edge of a tile, which lacks context, has weight zero; a raised
    cosine lies between.
    """
    position = (np.arange(overlap) + 0.5) / max(overlap, 1)
    weight: Array = (np.sin(np.pi / 2 * np.clip(2 * position - 0.5, 0, 1)) ** 2).astype(np.float32)
    return weight


@dataclass(frozen=True)
class Region:
    """A part of the image that no further tile changes."""

    rows: slice
    columns: slice
    ids: NDArray[np.uint8]
    """uint8 (K,), ascending."""
    probability: Array
    """float32 (K, h, w), the weighted mean of the tiles."""


class Mosaic:
    """Blends the soft masks of tiles, row by row.

    Memory holds one tile and the overlap with the row of tiles before, of the classes that occur: it grows with the
    width of the image, not with its height.
    """

    def __init__(self, rows: Sequence[slice], columns: Sequence[slice]) -> None:
        self._rows, self._columns = rows, columns
        self._above: Planes = {}
        self._below: Planes = {}
        self._left: Planes = {}

    def add(self, row: int, column: int, ids: NDArray[np.uint8], probability: NDArray[np.floating]) -> Region:
        """Add the next tile, left to right and top to bottom; return the region that it completes.

        `ids`, uint8 (K,), are its classes, `probability`, float (K, h, w), their soft masks.
        """
        if column == 0:
            self._left = {}
            self._above, self._below = self._below, {}
        rows, columns = self._rows[row], self._columns[column]
        down, across = _finished(self._rows, row), _finished(self._columns, column)
        weight = _weights(self._rows, row)[:, None] * _weights(self._columns, column)
        left, self._left = self._left, {}
        tile = dict(zip(ids.tolist(), probability, strict=True))
        above = {number for number, plane in self._above.items() if plane[:, columns.start : across].any()}
        every = sorted(tile.keys() | left.keys() | above)
        result = np.empty((len(every), down - rows.start, across - columns.start), np.float32)
        for position, number in enumerate(every):
            plane: Array = tile[number] * weight if number in tile else np.zeros(weight.shape, np.float32)
            if number in left:
                plane[:, : left[number].shape[1]] += left[number]
            height, width = result.shape[1:]
            result[position] = plane[:height, :width]
            if number in self._above:
                strip = self._above[number][:, columns.start : across]
                result[position, : len(strip)] += strip
            if height < len(plane):
                empty = np.zeros((len(plane) - height, self._columns[-1].stop), np.float32)
                self._below.setdefault(number, empty)[:, columns.start : across] = plane[height:, :width]
            if width < plane.shape[1]:
                self._left[number] = plane[:, width:].copy()
        return Region(slice(rows.start, down), slice(columns.start, across), np.array(every, np.uint8), result)


class TiledPhoto:
    """A decoded photo, cut into tiles, and its mask so far; small photos have a single tile."""

    is_whole = True

    def __init__(self, sample: Sample, image: NDArray[np.uint8], tile: int, overlap: int) -> None:
        """Cut a photo, uint8 (H, W, 3), into tiles of at most `tile` pixels a side."""
        self.sample, self.image = sample, image
        self.rows, self.columns = cut(image.shape[0], tile, overlap), cut(image.shape[1], tile, overlap)
        self.mask = np.zeros(image.shape[:2], np.uint8)
        """uint8 (H, W), ids of the classes."""
        self.confidence = np.zeros(image.shape[:2], np.uint8)
        """uint8 (H, W), 255 times the probability of the class in the mask."""
        self._mosaic = Mosaic(self.rows, self.columns)

    def tiles(self) -> Iterator[Tile]:
        """Yield the tiles from left to right and top to bottom."""
        for row in range(len(self.rows)):
            for column in range(len(self.columns)):
                yield Tile(self, row, column)

    def add(self, tile: Tile, ids: NDArray[np.uint8], probability: NDArray[np.floating]) -> None:
        """Take the soft mask of the next tile; see `Mosaic.add`."""
        region = self._mosaic.add(tile.row, tile.column, ids, probability)
        position = (region.rows, region.columns)
        self.mask[position] = region.ids[best_class(region.probability)]
        self.confidence[position] = np.rint(255 * region.probability.max(axis=0).clip(0, 1)).astype(np.uint8)


@dataclass(frozen=True, eq=False)
class Tile:
    """A part of a photo."""

    photo: TiledPhoto
    row: int
    """Index among the rows of tiles."""
    column: int
    """Index among the columns of tiles."""

    @property
    def sample(self) -> Sample:
        """The sample of the photo."""
        return self.photo.sample

    @property
    def image(self) -> NDArray[np.uint8]:
        """uint8 (h, w, 3), a view of the photo."""
        return self.photo.image[self.photo.rows[self.row], self.photo.columns[self.column]]

    @property
    def is_last(self) -> bool:
        """Whether it completes the photo."""
        return (self.row + 1, self.column + 1) == (len(self.photo.rows), len(self.photo.columns))

    @property
    def is_whole(self) -> bool:
        """Whether it is the whole photo."""
        return len(self.photo.rows) == len(self.photo.columns) == 1

    def crop(self, stack: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return the part of a coarse stack of maps (K, h, w) of the whole photo that covers this tile."""
        if self.is_whole:
            return stack
        height, width = self.photo.image.shape[:2]
        return window(stack, self.photo.rows[self.row], self.photo.columns[self.column], height, width, GRID)


def window(stack: NDArray[np.floating], rows: slice, columns: slice, height: int, width: int, minimum: int) -> Array:
    """Return the part, float32 (K, h', w'), of a coarse stack of maps that covers one tile of its image.

    Args:
        stack: Float (K, h, w) over the whole image.
        rows: Of the tile.
        columns: Of the tile.
        height: Of the image.
        width: Of the image.
        minimum: Smallest side of the part in locations, unless the tile has fewer pixels.
    """
    down = _locations(rows, height, stack.shape[1], minimum)
    across, down = np.meshgrid(_locations(columns, width, stack.shape[2], minimum), down)
    layers = [
        cv2.remap(np.asarray(layer, np.float32), across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        for layer in stack
    ]
    return np.stack(layers)


def _locations(part: slice, side: int, size: int, minimum: int) -> Array:
    """Return the coordinates of the part's centres in a map of `size` locations along a side."""
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
