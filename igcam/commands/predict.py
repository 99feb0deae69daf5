"""`predict`: masks for any photos, without tags, by a finished run; threads decode, run the network and draw."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from igcam.commands.predicting.averaged import MODELS, open_predictor
from igcam.commands.predicting.predictor import Prediction, Predictor
from igcam.commands.predicting.tiled_photo import Tile, TiledPhoto
from igcam.core.errors import IgcamError, check_ranges
from igcam.core.parallel import default_workers, in_parallel, shared_cores
from igcam.core.progress import Progress, no_progress
from igcam.data.images import load_image, save_png
from igcam.data.masks import write_mask
from igcam.data.sample import Dataset, Sample
from igcam.runs.drawing import RenderOptions, final_map
from igcam.runs.folder import RunFolder
from igcam.runs.shards import Shard
from igcam.runs.stage_masks import mask_options

Drawn = Callable[[Sample, NDArray[np.uint8], NDArray[np.uint8]], None]
"""Called with a photo, its pixels uint8 (H, W, 3), and its mask uint8 (H, W)."""
Soft = tuple[NDArray[np.uint8], NDArray[np.float32]]

BATCH_PIXELS = 1 << 26
"""A batch is not filled further once its photos have so many pixels, so that memory stays bounded."""


@dataclass(frozen=True)
class PredictOptions:
    """How photos are predicted and drawn."""

    model: str | None = None
    """`head` or `segmenter`; null takes the segmenter where the run has one."""
    scales: tuple[float, ...] = (1.0,)
    """Factors of the run's size at which photos are put before the network; their scores are averaged."""
    flip: bool | None = None
    """Average with the mirrored photo; null does as the run."""
    tile: int = 0
    """Photos with a longer side are predicted in tiles of at most this side; 0 puts every photo before the network as a
    whole, as the run has learnt from them."""
    drawing_tile: int = 2048
    """Photos with a longer side that are predicted as a whole are drawn in tiles of at most this side."""
    overlap: float = 0.25
    """Share of a tile that it has in common with the next one."""
    stages: tuple[str, ...] | None = None
    """Drawing stages, of `sharpen` and `crf`; null does as the run."""
    batch_size: int = 4
    """Photos or tiles a forward pass, and photos that a thread takes at a time."""
    workers: int = 0
    """Threads, each with photos of its own; 0 is one a core, 8 at most."""

    def __post_init__(self) -> None:
        if self.model is not None and self.model not in MODELS:
            raise IgcamError(f"model must be one of {', '.join(MODELS)}, got {self.model}")
        if not self.scales or not all(0.1 <= scale <= 10 for scale in self.scales):
            raise IgcamError(f"scales must be one or more numbers in 0.1 to 10, got {list(self.scales)}")
        if self.tile:
            check_ranges(self, tile=(32, 1 << 14))
        check_ranges(self, drawing_tile=(32, 1 << 14), overlap=(0, 0.33))
        check_ranges(self, batch_size=(1, 4096), workers=(0, 1024))


@dataclass(frozen=True)
class Predicted:
    """What became of the photos."""

    model: str
    """`head` or `segmenter`."""
    files: tuple[Path, ...]
    """The masks, in the order of the photos."""
    problems: tuple[str, ...]
    """One line for each photo that has none."""


def predict(
    dataset: Dataset,
    run: str | Path | RunFolder,
    out: str | Path,
    options: PredictOptions | None = None,
    *,
    confidence: str | Path | None = None,
    drawn: Drawn | None = None,
    shard: Shard | None = None,
    progress: Progress = no_progress,
) -> Predicted:
    """Write a mask for each photo, at its own size, without its tags; photos that have one already are skipped.

    Memory holds a batch of photos a thread, but one photo only where it is large, and the soft masks of a tile and of
    the overlap with the row of tiles before. Where a photo is cut, each tile is refined for itself, and the soft masks
    are blended where tiles overlap.

    Args:
        dataset: Photos; tags are not looked at.
        run: A finished run.
        out: Folder for NAME.png, palette PNGs with ids 0..C.
        options: Defaults to `PredictOptions()`.
        confidence: Folder for NAME.png of 8 bits: 255 times the probability of the class in the mask.
        drawn: Called before a mask is written, perhaps from several threads at once.
        shard: Only this part of the photos.
        progress: Called with what is being done, the number done and the number to do.

    Returns:
        Which model it was, the masks, and what is wrong with photos that have none.

    Raises:
        IgcamError: The run is not finished or damaged, OUT lies among the photos, or a file cannot be written.
    """
    options = options or PredictOptions()
    run = run if isinstance(run, RunFolder) else RunFolder.open(run)
    dataset = dataset if shard is None else shard.of(dataset)
    out, confidence = Path(out), None if confidence is None else Path(confidence)
    check_outside(dataset, out, confidence)
    return PhotoPredictor.open(run, options).predict(dataset, out, confidence, drawn, progress)


@dataclass(frozen=True)
class PhotoPredictor:
    """A run that is ready to draw masks of photos."""

    model: str
    """`head` or `segmenter`."""
    predictor: Predictor
    rendering: RenderOptions
    options: PredictOptions

    @classmethod
    def open(cls, run: RunFolder, options: PredictOptions) -> PhotoPredictor:
        """Load what `predict` needs of a run.

        Raises:
            IgcamError: The run is not finished or damaged, or does not have the model that is asked for.
        """
        model, predictor = open_predictor(run, options.model, options.scales, options.flip, options.batch_size)
        return cls(model, predictor, mask_options(run.options, options.stages), options)

    def predict(
        self,
        dataset: Dataset,
        out: Path,
        confidence: Path | None = None,
        drawn: Drawn | None = None,
        progress: Progress = no_progress,
    ) -> Predicted:
        """Write the masks that are missing; arguments as for the function."""
        todo = [sample for sample in dataset if not _file(out, sample).exists()]
        size = self.options.batch_size
        groups = [todo[start : start + size] for start in range(0, len(todo), size)]
        workers = self.options.workers or default_workers()
        problems: list[str] = []

        def finish(photo: TiledPhoto) -> None:
            # The mask comes last: it says that the photo is done.
            if confidence is not None:
                save_png(_file(confidence, photo.sample), photo.confidence)
            if drawn is not None:
                drawn(photo.sample, photo.image, photo.mask)
            write_mask(_file(out, photo.sample), photo.mask)

        def work(group: Sequence[Sample]) -> list[str]:
            found: list[str] = []
            photos = _decoded(group, self.options, found)
            for tile, prediction in predictions(photos, self.predictor, self.options):
                tile.photo.add(tile, *draw_tile(tile, prediction, self.rendering))
                if tile.is_last:
                    finish(tile.photo)
            return found

        with shared_cores(workers):
            for position, found in enumerate(in_parallel(work, groups, workers)):
                problems += found
                progress("predict", min((position + 1) * size, len(todo)), len(todo))
        files = tuple(file for file in (_file(out, sample) for sample in dataset) if file.exists())
        return Predicted(self.model, files, tuple(problems))


def predictions(
    photos: Iterable[TiledPhoto], predictor: Predictor, options: PredictOptions
) -> Iterator[tuple[Tile, Prediction]]:
    """Yield every tile of every photo with its scores; batches go across photos."""
    for batch in _batches(photos, options):
        for item, prediction in zip(batch, predictor.predict([item.image for item in batch]), strict=True):
            if isinstance(item, Tile):
                yield item, prediction
            else:
                yield from ((tile, tile.of(prediction)) for tile in item.tiles())


def draw_tile(tile: Tile, prediction: Prediction, options: RenderOptions) -> Soft:
    """Return the soft mask of a tile: ids and probabilities, float32 (K, h, w) of its size."""
    if options.crf is not None and options.crf_side:
        # Widths follow the photo, not the tile.
        crf = options.crf.scaled(max(tile.photo.image.shape[:2]) / options.crf_side)
        options = replace(options, crf=crf, crf_side=0)
    return final_map(tile.image, prediction.scores, options, prediction.features)


def check_outside(dataset: Dataset, *folders: Path | None) -> None:
    """Refuse folders for results in which the next search for photos would find them.

    Raises:
        IgcamError: A folder lies in one with photos.
    """
    sources = {sample.image.parent.resolve() for sample in dataset}
    for folder in folders:
        found = sources & {folder.resolve(), *folder.resolve().parents} if folder is not None else set()
        if found:
            raise IgcamError(f"{folder}: must not lie in {min(found)}, where photos are")


def _batches(photos: Iterable[TiledPhoto], options: PredictOptions) -> Iterator[list[TiledPhoto | Tile]]:
    batch: list[TiledPhoto | Tile] = []
    for photo in photos:
        for item in photo.tiles() if options.tile else (photo,):
            batch.append(item)
            if len(batch) == options.batch_size or sum(item.image.size for item in batch) >= 3 * BATCH_PIXELS:
                yield batch
                batch = []
    if batch:
        yield batch


def _decoded(group: Sequence[Sample], options: PredictOptions, problems: list[str]) -> Iterator[TiledPhoto]:
    """Yield the photos that can be read; what is wrong with the others is added to `problems`."""
    side = options.tile or options.drawing_tile
    for sample in group:
        try:
            image = load_image(sample.image)
        except IgcamError as error:
            problems.append(str(error))
            continue
        yield TiledPhoto(sample, image, side, int(side * options.overlap))


def _file(folder: Path, sample: Sample) -> Path:
    return folder / f"{sample.name}.png"
