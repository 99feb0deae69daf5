"""`label`: masks for photos, by a finished run, with their tags or without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from igcam.core.errors import IgcamError
from igcam.core.parallel import default_workers, in_parallel, shared_cores
from igcam.core.progress import Progress, no_progress
from igcam.data.images import load_image
from igcam.data.masks import write_mask
from igcam.data.sample import Dataset, Sample
from igcam.methods.base import Model
from igcam.methods.classify import Classifier
from igcam.methods.features import views_of
from igcam.methods.network import open_backbone
from igcam.methods.options import FitOptions
from igcam.models.bank import FeatureBank
from igcam.models.devices import usual_device
from igcam.runs.artefacts import RunArtefacts
from igcam.runs.drawing import final_mask
from igcam.runs.folder import RunFolder
from igcam.runs.shards import Shard
from igcam.runs.stage_masks import mask_options
from igcam.runs.trained import open_model

Array = NDArray[np.float32]

BATCH = 8
"""Photos a forward pass, as in `fit`; they are then drawn by the same thread."""


@dataclass(frozen=True)
class Labeller:
    """A finished run with its feature bank, ready to give maps of further photos."""

    run: RunFolder
    bank: FeatureBank
    trained: Model
    options: FitOptions

    @property
    def classifier(self) -> Classifier:
        """The linear head of the run."""
        return RunArtefacts(self.run).load("classify/head", Classifier.from_tensors)

    @classmethod
    def open(cls, run: RunFolder, bank: Path) -> Labeller:
        """Load what a run has learnt.

        Raises:
            IgcamError: The run is not finished.
        """
        trained, options = open_model(run), run.options
        backbone = open_backbone(RunArtefacts(run), options).to(usual_device())
        return cls(run, FeatureBank(bank, backbone, views_of(options.size, options.flip)), trained, options)

    def scores(self, levels: Sequence[Sequence[Tensor]], tags: NDArray[np.floating] | None) -> tuple[Array, Array]:
        """Return the scores of one photo, float32 (C + 1, h, w), and its features, float32 (D, h, w).

        Args:
            levels: What the bank gives for the photo: one list of levels a view.
            tags: (C,) of 0 and 1; None where they are not known.
        """
        views = [[level.float()[None] for level in view] for view in levels]
        flips = [view.flip for view in self.bank.views]
        scores, deep = self.trained.scores(views, flips, None if tags is None else tags[None])
        return scores[0], deep[0]


def label(
    dataset: Dataset,
    run: str | Path | RunFolder,
    out: str | Path,
    *,
    bank: str | Path | None = None,
    use_tags: bool = True,
    stages: Sequence[str] | None = None,
    shard: Shard | None = None,
    workers: int = 0,
    progress: Progress = no_progress,
) -> list[Path]:
    """Write a mask for each image, at its own size; images that have one already are skipped.

    Memory holds a batch of photos a thread, however many there are.

    Args:
        dataset: Photos, with tags or without; its classes must be those of the run.
        run: A finished run.
        out: Folder for NAME.png, palette PNGs with ids 0..C.
        bank: Folder of a feature bank, which gives the features that it holds and takes those of other photos. None
            reads those in RUN/bank and keeps no others, as a photo's features are much larger than the photo.
        use_tags: False predicts without tags even where they are known.
        stages: Drawing stages to apply, of `sharpen` and `crf`; None for those of the run.
        shard: Only this part of the photos.
        workers: Threads, each with photos of its own; 0 is one a core, 8 at most.
        progress: Called with what is being done, the number done and the number to do.

    Returns:
        The masks' files, in the order of the data set.

    Raises:
        IgcamError: The run is not finished, has other classes, a file cannot be written, or photos cannot be read;
            the masks of the other photos are written before.
    """
    run = run if isinstance(run, RunFolder) else RunFolder.open(run)
    if dataset.classes and dataset.classes != run.classes:
        raise IgcamError(
            f"label: the classes must be those of the run, {', '.join(run.classes)}, got {', '.join(dataset.classes)}"
        )
    dataset = dataset if shard is None else shard.of(dataset)
    labeller = Labeller.open(run, Path(bank) if bank else run.file("bank"))
    files = {sample.name: Path(out) / f"{sample.name}.png" for sample in dataset}
    todo = [sample for sample in dataset if not files[sample.name].exists()]
    options = mask_options(run.options, stages)
    problems: list[str] = []

    def tags_of(sample: Sample) -> Array | None:
        if not use_tags or sample.tags is None:
            return None
        return np.isin(np.arange(len(run.classes)), sample.tags).astype(np.float32)

    def work(group: Sequence[Sample]) -> list[str]:
        found: list[str] = []
        photos: dict[Path, NDArray[np.uint8]] = {}
        for sample in group:
            try:
                photos[sample.image] = load_image(sample.image)
            except IgcamError as error:
                found.append(str(error))
        levels = labeller.bank.of_photos(photos, bank is not None, BATCH)
        for sample in group:
            if sample.image in photos:
                scores, deep = labeller.scores(levels[sample.image], tags_of(sample))
                mask = final_mask(photos[sample.image], scores, options, deep)
                write_mask(files[sample.name], mask)
        return found

    groups = [todo[start : start + BATCH] for start in range(0, len(todo), BATCH)]
    workers = workers or default_workers()
    with shared_cores(workers):
        for position, found in enumerate(in_parallel(work, groups, workers)):
            problems += found
            progress("label", min((position + 1) * BATCH, len(todo)), len(todo))
    if problems:
        raise IgcamError.from_lines(f"{out}: {len(problems)} photos cannot be labelled:", problems)
    return list(files.values())
