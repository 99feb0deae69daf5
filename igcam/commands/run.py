"""A run in Python: its masks, its metrics, and predictions for further photos."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from importlib import import_module
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from igcam.commands.predict import PhotoPredictor, PredictOptions, draw_tile, open_run, predictions
from igcam.commands.predicting.tiles import TiledPhoto
from igcam.core.errors import IgcamError
from igcam.core.files import read_json
from igcam.data.images import find_images, load_image
from igcam.data.masks import read_mask_file
from igcam.data.sample import Sample
from igcam.refine.stack import check_image
from igcam.runs.dataset_file import read_dataset_file
from igcam.runs.folder import RunFolder

Mask = NDArray[np.uint8]


class Run(RunFolder):
    """A finished run.

    >>> run = igcam.Run("runs/mine")
    >>> run.classes
    ('fox', 'frog', 'owl', 'panda', 'pig')
    >>> name, mask = next(run.masks())
    >>> mask.dtype, mask.shape
    (dtype('uint8'), (64, 64))
    >>> run.predict(["photos/scene-00003.jpg"])[0].shape
    (64, 64)
    >>> last = run.metrics()["crf"]
    >>> 0 <= last["miou"] <= 100
    True
    """

    def predict(self, images: str | Path | Sequence[str | Path | Mask]) -> list[Mask]:
        """Return masks of any images, without tags, in memory; `igcam.predict` writes them to a folder instead.

        Args:
            images: A folder, searched with its subfolders, a file, or files and arrays, uint8 (H, W, 3), RGB.

        Returns:
            One mask an image, uint8 (H, W), ids 0..C, 0 = background; those of a folder in the order of its files.

        Raises:
            IgcamError: The run is not finished or damaged, or an image cannot be read or is no such array.
        """
        one = [images] if isinstance(images, str | Path) else images
        chosen = find_images(images) if isinstance(images, str | Path) and Path(images).is_dir() else one
        options = self._predictor.options
        side, nameless = options.drawing_tile, Sample("", Path())
        photos = (TiledPhoto(nameless, pixels, side, int(side * options.overlap)) for pixels in map(_pixels, chosen))
        masks: list[Mask] = []
        for tile, prediction in predictions(photos, self._predictor.scores, options):
            tile.photo.add(tile, *draw_tile(tile, prediction, self._predictor.refinements))
            if tile.is_last:
                masks.append(tile.photo.mask)
        return masks

    def masks(self) -> Iterator[tuple[str, Mask]]:
        """Yield name and final mask, uint8 (H, W), of each training image, read as they are asked for.

        Raises:
            IgcamError: A mask is missing or damaged.
        """
        for name in read_dataset_file(self.file("samples.json")).names:
            yield name, read_mask_file(self.file("masks", f"{name}.png"))

    def metrics(self) -> dict[str, dict[str, float]]:
        """Return the scores of the training images after each stage, in percent; empty without true masks.

        Raises:
            IgcamError: The file is damaged.
        """
        file = RunFolder.open(self.path).file("metrics.json")
        if not file.is_file():
            return {}
        try:
            stages = read_json(file)["stages"]
            return {name: {row["id"]: row["value"] for row in stage["rows"]} for name, stage in stages.items()}
        except (KeyError, TypeError, AttributeError) as error:
            raise IgcamError(f"{file}: has no rows of stages: {error!r}") from error

    def _repr_html_(self) -> str:
        # Imports run one way: reporting is above commands.
        html: str = import_module("igcam.reporting.notebook").run_html(self.path)
        return html

    @cached_property
    def _predictor(self) -> PhotoPredictor:
        return open_run(self, PredictOptions())


def _pixels(image: str | Path | Mask) -> Mask:
    if isinstance(image, str | Path):
        return load_image(Path(image))
    try:
        check_image(image)
    except (ValueError, AttributeError) as error:
        raise IgcamError(f"images: must be files or arrays, uint8 (H, W, 3): {error}") from error
    return image
