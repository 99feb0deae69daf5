"""A photo on its way through `predict`: its tiles, what has been drawn of it, and what is written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from igcam.commands.predicting.predictor import Prediction
from igcam.commands.predicting.tiles import Mosaic, cut, window
from igcam.data.sample import Sample
from igcam.refine.stack import best_class

GRID = 48
"""Places a side at least of the scores of one tile of a photo that was predicted as a whole."""


class TiledPhoto:
    """A decoded photo, cut into tiles; small ones have a single tile."""

    def __init__(self, sample: Sample, image: NDArray[np.uint8], tile: int, overlap: int) -> None:
        """Cut a photo.

        Args:
            sample: Whose photo it is.
            image: uint8 (H, W, 3).
            tile: Longest side of a tile in pixels.
            overlap: Pixels that neighbours share.
        """
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
        """Take the soft mask of the next tile."""
        region = self._mosaic.add(tile.row, tile.column, ids, probability)
        position = (region.rows, region.columns)
        self.mask[position] = region.ids[best_class(region.probability)]
        self.confidence[position] = np.rint(255 * region.probability.max(axis=0).clip(0, 1)).astype(np.uint8)


@dataclass(frozen=True, eq=False)
class Tile:
    """A part of a photo."""

    photo: TiledPhoto
    row: int
    """Place among the rows of tiles."""
    column: int
    """Place among the columns of tiles."""

    @property
    def image(self) -> NDArray[np.uint8]:
        """uint8 (h, w, 3), a view of the photo."""
        return self.photo.image[self.photo.rows[self.row], self.photo.columns[self.column]]

    @property
    def is_last(self) -> bool:
        """Whether the photo is complete with it."""
        return (self.row + 1, self.column + 1) == (len(self.photo.rows), len(self.photo.columns))

    @property
    def is_only(self) -> bool:
        """Whether it is the whole photo."""
        return len(self.photo.rows) == len(self.photo.columns) == 1

    def of(self, prediction: Prediction) -> Prediction:
        """Return this tile's part of a prediction of the whole photo."""
        photo = self.photo
        if self.is_only:
            return prediction
        position = (photo.rows[self.row], photo.columns[self.column], *photo.image.shape[:2], GRID)
        features = prediction.features
        return Prediction(
            window(prediction.scores, *position), None if features is None else window(features, *position)
        )
