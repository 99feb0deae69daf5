"""`label`: masks for photos by the heads of a finished run, restricted to their tags where these are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from igcam.commands.predict import (
    Cluster,
    Drawn,
    PhotoPredictor,
    Predicted,
    PredictOptions,
    as_run,
    chosen_refinements,
    write_masks,
)
from igcam.commands.predicting.models import Prediction, mean_over_scales, scaled
from igcam.commands.predicting.tiles import Tile, TiledPhoto
from igcam.core.errors import IgcamError
from igcam.core.parallel import usual_device
from igcam.core.progress import Progress, no_progress
from igcam.data.sample import Dataset, Sample
from igcam.methods.base import Model
from igcam.methods.features import views_of
from igcam.methods.network import open_backbone
from igcam.methods.options import FitOptions
from igcam.models.bank import FeatureBank
from igcam.runs.artefacts import RunArtefacts, open_model
from igcam.runs.folder import RunFolder
from igcam.runs.shards import Shard

Array = NDArray[np.float32]

LABEL = PredictOptions(model="head", drawing_tile=1 << 14, batch_size=8)
"""Defaults of `label`: it refines photos as a whole, as `fit` does."""


@dataclass(frozen=True)
class Labeller:
    """The heads of a finished run, with a feature bank."""

    options: FitOptions
    bank: FeatureBank
    trained: Model

    @classmethod
    def open(cls, run: RunFolder, bank: Path) -> Labeller:
        """Load the heads of a run and open a bank; IgcamError if the run is not finished."""
        options, trained = run.options, open_model(run)
        backbone = open_backbone(RunArtefacts(run), options).to(usual_device())
        return cls(options, FeatureBank(bank, backbone, views_of(options.size, options.flip)), trained)

    def scores(self, levels: Sequence[Sequence[Tensor]], tags: NDArray[np.floating] | None) -> tuple[Array, Array]:
        """Return the scores of one photo, float32 (C + 1, h, w), and its features, float32 (D, h, w).

        Args:
            levels: The maps of the photo in the bank: one list of levels a view.
            tags: (C,) of 0 and 1; None where they are unknown.
        """
        views = [[level.float()[None] for level in view] for view in levels]
        flips = [view.flip for view in self.bank.views]
        scores, deep = self.trained.scores(views, flips, None if tags is None else tags[None])
        return scores[0], deep[0]

    def predict(
        self, items: Sequence[TiledPhoto | Tile], tags: Sequence[Array | None], keep: bool, batch_size: int
    ) -> list[Prediction]:
        """Return one prediction for each photo or tile, from features in half precision.

        `tags` are (C,) of 0 and 1, None where unknown. With `keep` the bank takes the features of photos; it neither
        holds nor takes those of tiles.
        """
        photos = {item.sample.image: item.image for item in items if item.is_whole}
        whole = self.bank.of_photos(photos, keep, batch_size)
        parts = [item.image for item in items if not item.is_whole]
        tiles = iter(self.bank.of_batch(parts, batch_size) if parts else ())
        levels = (whole[item.sample.image] if item.is_whole else next(tiles) for item in items)
        return [Prediction(*self.scores(*known)) for known in zip(levels, tags, strict=True)]


def label(
    dataset: Dataset,
    run: str | Path | RunFolder,
    out: str | Path,
    options: PredictOptions = LABEL,
    *,
    confidence: str | Path | None = None,
    drawn: Drawn | None = None,
    bank: str | Path | None = None,
    use_tags: bool = True,
    shard: Shard | None = None,
    cluster: Cluster | None = None,
    progress: Progress = no_progress,
) -> Predicted:
    """Write a mask for each photo, at its own size; photos that have a mask already are skipped.

    As `igcam.predict`, whose arguments and result it shares, but the heads of the run predict, classes are restricted
    to the tags of a photo where these are known (`use_tags=False` ignores them), and the classes of `dataset` must be
    those of the run. `bank` is the folder of a feature bank that gives features and keeps new ones; None reads RUN/bank
    and keeps no others, as the features of a photo are much larger than the photo.

    >>> done = igcam.label(igcam.read_folder("photos", "tags.csv"), "runs/mine", "labelled")
    >>> len(done.files), done.problems
    (16, ())

    Raises:
        IgcamError: As for `predict`, or the classes differ from those of the run.
    """
    folder = as_run(run, cluster)
    if dataset.classes and dataset.classes != folder.classes:
        own, given = (", ".join(classes) for classes in (folder.classes, dataset.classes))
        raise IgcamError(f"label: the classes must be those of the run, {own}, got {given}")
    if options.model not in (None, "head"):
        raise IgcamError(f"label: model must be head, got {options.model}; predict takes any model")
    opened = partial(open_run_and_bank, folder, options, None if bank is None else Path(bank).absolute(), use_tags)
    return write_masks(opened, dataset, out, confidence, drawn, shard, cluster, progress)


def open_run_and_bank(run: RunFolder, options: PredictOptions, bank: Path | None, use_tags: bool) -> PhotoPredictor:
    """Load the heads of a run for `label`; IgcamError if it is not finished or damaged."""
    folder = bank or run.file("bank")
    labeller = Labeller.open(run, folder)
    views = views_of(labeller.options.size, labeller.options.flip if options.flip is None else options.flip)
    banks = [FeatureBank(folder, labeller.bank.backbone, scaled(views, scale)) for scale in options.scales]
    scales = [replace(labeller, bank=each) for each in banks]

    def tags_of(sample: Sample) -> Array | None:
        if not use_tags or sample.tags is None:
            return None
        return np.isin(np.arange(len(run.classes)), sample.tags).astype(np.float32)

    def scores(items: Sequence[TiledPhoto | Tile]) -> list[Prediction]:
        tags = [tags_of(item.sample) for item in items]
        every = [scale.predict(items, tags, bank is not None, options.batch_size) for scale in scales]
        return [mean_over_scales(predictions) for predictions in zip(*every, strict=True)]

    return PhotoPredictor("head", scores, chosen_refinements(run, options.stages), options, "label")
