"""`predict`: masks for any photos, without tags, by a finished run; and the loop that it shares with `label`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from igcam.commands.predicting.models import (
    MODELS,
    HeadPredictor,
    Prediction,
    Predictor,
    SegmenterPredictor,
    chosen_model,
)
from igcam.commands.predicting.tiles import Tile, TiledPhoto
from igcam.core.errors import IgcamError
from igcam.core.parallel import default_workers, in_parallel, shared_cores
from igcam.core.progress import Progress, no_progress
from igcam.core.validation import between, one_of, options
from igcam.data.images import load_image, save_png
from igcam.data.masks import write_mask
from igcam.data.sample import Dataset, Sample
from igcam.methods.base import Refinement
from igcam.runs.folder import RunFolder
from igcam.runs.refined_masks import MIN_PROBABILITY, final_soft_mask
from igcam.runs.shards import Shard

Drawn = Callable[[Sample, NDArray[np.uint8], NDArray[np.uint8]], None]
"""Called with a photo, its pixels uint8 (H, W, 3), and its mask uint8 (H, W)."""
Predict = Callable[[Sequence[TiledPhoto | Tile]], list[Prediction]]
"""Returns one prediction for each photo or tile."""

BATCH_PIXELS = 1 << 26
"""A batch is closed once its photos have this many pixels, so that memory stays bounded."""


@options
class PredictOptions:
    """How masks of photos are predicted and refined."""

    model: Annotated[str, one_of(MODELS)] | None = None
    """`head` or `segmenter`; null takes the segmenter where the run has one."""
    scales: Annotated[tuple[Annotated[float, between(0.1, 10)], ...], Field(min_length=1)] = (1.0,)
    """Factors of the run's image size; scores are averaged over them."""
    flip: bool | None = None
    """Average with the mirrored photo; null takes the option of the run."""
    tile: Annotated[int, between(32, 1 << 14, or_zero=True)] = 0
    """Photos with a longer side are predicted in tiles of at most this side, in pixels; 0 predicts every photo as a
    whole, as in training."""
    drawing_tile: Annotated[int, between(32, 16384)] = 2048
    """Photos with a longer side that are predicted as a whole are refined in tiles of at most this side, in pixels."""
    overlap: Annotated[float, between(0, 0.33)] = 0.25
    """Overlap of neighbouring tiles as a share of their side."""
    stages: tuple[str, ...] | None = None
    """Refinements, of `sharpen` and `crf`; null takes those of the run."""
    batch_size: Annotated[int, between(1, 4096)] = 4
    """Photos or tiles a forward pass, and photos a thread takes at a time."""
    workers: Annotated[int, between(0, 1024)] = 0
    """Threads, each with its own photos; 0 is one a core, 8 at most."""


@dataclass(frozen=True)
class Predicted:
    """The outcome for a set of photos."""

    model: str
    """`head` or `segmenter`."""
    files: tuple[Path, ...]
    """The masks, in the order of the photos."""
    problems: tuple[str, ...]
    """One line for each photo without a mask: its file and the reason."""
    kept: int
    """How many of the masks were there before."""


@dataclass(frozen=True)
class Cluster:
    """Processes of a Ray cluster, which share the folders of photos, run and masks."""

    workers: int = 2
    """Processes; each loads the run once."""
    gpus: float = 0
    """GPUs of each process; may be a fraction."""
    address: str | None = None
    """Of a running cluster, as Ray takes it; None starts one on this machine, or takes that of RAY_ADDRESS."""

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise IgcamError(f"--ray: must be at least 1 worker, got {self.workers}")


def predict(
    dataset: Dataset,
    run: str | Path | RunFolder,
    out: str | Path,
    options: PredictOptions | None = None,
    *,
    confidence: str | Path | None = None,
    drawn: Drawn | None = None,
    shard: Shard | None = None,
    cluster: Cluster | None = None,
    progress: Progress = no_progress,
) -> Predicted:
    """Write a mask for each photo, at its own size, without its tags; photos that have a mask already are skipped.

    A photo that cannot be read stops no other. Tiles of a photo are refined one by one, and their soft masks blended
    where they overlap. Memory holds a batch of photos a thread, or one large photo, and the soft masks of a tile and of
    the overlap with the row of tiles before.

    Args:
        dataset: Photos; tags are ignored.
        run: A finished run.
        out: Folder for NAME.png, palette PNGs with ids 0..C.
        options: Defaults to `PredictOptions()`.
        confidence: Folder for 8-bit NAME.png: 255 times the probability of the class in the mask.
        drawn: Called before a mask is written, possibly by several threads at once, or in the processes of a cluster.
        shard: Only this part of the photos.
        cluster: Share the photos among these processes; needs the extra `igcam[ray]`.
        progress: Called with the name of the task, the number done and the number to do.

    Returns:
        The model, the masks, and the photos without one.

    >>> done = igcam.predict(igcam.read_folder("photos", "tags.csv"), "runs/mine", "predicted")
    >>> done.model, len(done.files)
    ('head', 16)

    Raises:
        IgcamError: The run is not finished or damaged or lacks the model, OUT lies among the photos, a file cannot be
            written, or no cluster answers.
    """
    opened = partial(open_run, as_run(run, cluster), options or PredictOptions())
    return write_masks(opened, dataset, out, confidence, drawn, shard, cluster, progress)


def open_run(run: RunFolder, options: PredictOptions) -> PhotoPredictor:
    """Load a run for predictions without tags; IgcamError if it is not finished or damaged, or lacks the model."""
    model, size, flip = chosen_model(run, options.model), options.batch_size, options.flip
    predictor: Predictor
    if model == "segmenter":
        predictor = SegmenterPredictor.open(run.file("segmenter"), size, flip)
    else:
        predictor = HeadPredictor.open(run, size, flip)
    scores = without_tags(predictor.at(*options.scales))
    return PhotoPredictor(model, scores, chosen_refinements(run, options.stages), options)


def without_tags(predictor: Predictor) -> Predict:
    """Return a function that predicts photos and tiles from their pixels alone."""
    return lambda items: predictor.predict([item.image for item in items])


def as_run(run: str | Path | RunFolder, cluster: Cluster | None) -> RunFolder:
    """Return an existing run; for a cluster by its absolute path, as workers run in other folders."""
    run = run if isinstance(run, RunFolder) else RunFolder.open(run)
    return run if cluster is None else RunFolder(run.path.absolute())


def write_masks(
    opened: Callable[[], PhotoPredictor],
    dataset: Dataset,
    out: str | Path,
    confidence: str | Path | None,
    drawn: Drawn | None,
    shard: Shard | None,
    cluster: Cluster | None,
    progress: Progress,
) -> Predicted:
    """Write the masks that are missing, here or on a cluster; `opened` loads the run, the rest is as for `predict`."""
    dataset = dataset if shard is None else shard.of(dataset)
    out, confidence = Path(out), None if confidence is None else Path(confidence)
    check_outside(dataset, out, confidence)
    if confidence is not None and confidence.resolve() == out.resolve():
        raise IgcamError(f"{out}: masks and confidence maps need folders of their own")
    predictor = opened()
    if cluster is None:
        return predictor.predict(dataset, out, confidence, drawn, progress)
    from igcam.commands.predicting.ray import predict_on_cluster

    # Workers run in other folders.
    folders = (out.absolute(), None if confidence is None else confidence.absolute())
    samples = [Sample(one.name, one.image.absolute(), one.tags) for one in _missing_masks(dataset, out)]
    done = partial(progress, predictor.task)
    problems = predict_on_cluster(cluster, samples, (opened, *folders, drawn), done) if samples else []
    return Predicted(predictor.model, _masks_of(dataset, out), tuple(problems), len(dataset) - len(samples))


@dataclass(frozen=True)
class PhotoPredictor:
    """A loaded run that writes masks of photos."""

    model: str
    """`head` or `segmenter`."""
    scores: Predict
    """Runs the network on a batch."""
    refinements: Sequence[Refinement]
    """How the scores are refined."""
    options: PredictOptions
    task: str = "predict"
    """The name for `progress`."""

    def predict(
        self,
        samples: Iterable[Sample],
        out: Path,
        confidence: Path | None = None,
        drawn: Drawn | None = None,
        progress: Progress = no_progress,
    ) -> Predicted:
        """Write the masks that are missing; arguments as for `igcam.commands.predict.predict`."""
        samples, size = tuple(samples), self.options.batch_size
        todo = _missing_masks(samples, out)
        groups = [todo[start : start + size] for start in range(0, len(todo), size)]
        workers = self.options.workers or default_workers()
        problems: list[str] = []

        def finish(photo: TiledPhoto) -> None:
            # The mask comes last: it marks the photo as done.
            if confidence is not None:
                save_png(_file(confidence, photo.sample), photo.confidence)
            if drawn is not None:
                drawn(photo.sample, photo.image, photo.mask)
            write_mask(_file(out, photo.sample), photo.mask)

        def work(group: Sequence[Sample]) -> list[str]:
            found: list[str] = []
            for tile, prediction in predictions(_decoded(group, self.options, found), self.scores, self.options):
                tile.photo.add(tile, *draw_tile(tile, prediction, self.refinements))
                if tile.is_last:
                    finish(tile.photo)
            return found

        with shared_cores(workers):
            for index, found in enumerate(in_parallel(work, groups, workers)):
                problems += found
                progress(self.task, min((index + 1) * size, len(todo)), len(todo))
        return Predicted(self.model, _masks_of(samples, out), tuple(problems), len(samples) - len(todo))


def predictions(
    photos: Iterable[TiledPhoto], predict: Predict, options: PredictOptions
) -> Iterator[tuple[Tile, Prediction]]:
    """Yield every tile of every photo with its prediction; batches go across photos."""
    for batch in _batches(photos, options):
        for item, whole in zip(batch, predict(batch), strict=True):
            if isinstance(item, Tile):
                yield item, whole
                continue
            for tile in item.tiles():
                features = None if whole.features is None else tile.crop(whole.features)
                yield tile, Prediction(tile.crop(whole.scores), features)


def draw_tile(
    tile: Tile, prediction: Prediction, refinements: Sequence[Refinement], min_probability: float = MIN_PROBABILITY
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return the refined soft mask of a tile: ids, uint8 (K,), and probabilities, float32 (K, h, w) of its size."""
    side = max(tile.photo.image.shape[:2])
    known = (tile.image, prediction.scores, refinements, prediction.features)
    return final_soft_mask(*known, side=side, min_probability=min_probability)


def chosen_refinements(run: RunFolder, names: Sequence[str] | None) -> tuple[Refinement, ...]:
    """Return refinements of a run's method by name, IgcamError if it has none of a name; None for those of the run."""
    if names is None:
        return run.options.refinements
    known = {stage.name: stage for stage in dataclasses.replace(run.options, without=()).refinements}
    wrong = [name for name in names if name not in known]
    if wrong:
        raise IgcamError(f"stages must be some of {', '.join(known)}, got {', '.join(wrong)}")
    return tuple(stage for name, stage in known.items() if name in names)


def check_outside(dataset: Dataset, *folders: Path | None) -> None:
    """Raise IgcamError for folders of results among the photos, where the next search would find the results."""
    sources = {sample.image.parent.resolve() for sample in dataset}
    for folder in folders:
        found = sources & {folder.resolve(), *folder.resolve().parents} if folder is not None else set()
        if found:
            raise IgcamError(f"{folder}: must not lie in {min(found)}, where photos are")


def _missing_masks(samples: Iterable[Sample], out: Path) -> list[Sample]:
    return [sample for sample in samples if not _file(out, sample).exists()]


def _masks_of(samples: Iterable[Sample], out: Path) -> tuple[Path, ...]:
    return tuple(file for sample in samples if (file := _file(out, sample)).exists())


def _file(folder: Path, sample: Sample) -> Path:
    return folder / f"{sample.name}.png"


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
    """Yield the photos that can be read; the reasons for the others are added to `problems`."""
    side = options.tile or options.drawing_tile
    for sample in group:
        try:
            image = load_image(sample.image)
        except IgcamError as error:
            problems.append(str(error))
        else:
            yield TiledPhoto(sample, image, side, int(side * options.overlap))
