"""`label`: masks for photos, by a finished run, with their tags or without."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from igcam.data.images import load_image
from igcam.data.masks import write_mask
from igcam.data.sample import Dataset, Sample
from igcam.errors import IgcamError
from igcam.guidance.targets import restrict_to_tags
from igcam.maps import normalise
from igcam.methods.background import with_background
from igcam.methods.classify import Classifier
from igcam.methods.inputs import no_progress
from igcam.models.bank import FeatureBank
from igcam.models.reduction import Reduction
from igcam.models.segmentation_head import SegmentationHead
from igcam.pipeline.backbone_file import open_backbone
from igcam.pipeline.features import mean_level, reduce_one, views_of
from igcam.pipeline.models_file import read_classifier, read_head, read_reduction
from igcam.pipeline.options import FitOptions
from igcam.pipeline.render import final_mask
from igcam.pipeline.run_folder import RunFolder
from igcam.pipeline.stage_masks import deep_features, mask_options

Array = NDArray[np.float32]
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Labeller:
    """A finished run, ready to give maps of further photos."""

    options: FitOptions
    bank: FeatureBank
    classifier: Classifier
    reduction: Reduction
    head: SegmentationHead | None
    """The last stage's head; None for plain CAM."""

    @classmethod
    def open(cls, run: RunFolder, bank: Path) -> Labeller:
        """Load what a run has learnt.

        Raises:
            IgcamError: The run is not finished.
        """
        options = run.options
        learnt = [stage for stage in ("guide", "reweight") if stage in options.stages]
        unfinished = [stage for stage in ("classify", *learnt) if not run.is_done(stage)]
        if unfinished:
            raise IgcamError(f"{run.path}: is not finished: no {', '.join(unfinished)}; run igcam fit again")
        backbone = open_backbone(run, options)
        return cls(
            options,
            FeatureBank(bank, backbone, views_of(options.size, options.flip)),
            read_classifier(run.file("stages", "classify", "head.safetensors")),
            read_reduction(run.file("stages", "features", "reduction.safetensors")),
            read_head(run.file("stages", learnt[-1], "head.safetensors")) if learnt else None,
        )

    def maps(self, image: Path, tags: NDArray[np.floating] | None) -> tuple[Array, Array]:
        """Return the scores of one photo, float32 (C + 1, h, w), not negative, background first, and its features.

        Args:
            image: The photo's file.
            tags: (C,) of 0 and 1; None where they are not known. Then the evidence of the whole image for
                each class is added to that of its places, or decides on the classes of a plain CAM.

        Returns:
            The scores, and the reduced last level, float32 (D, h, w).
        """
        views = [self.bank.read(image, view) for view in self.bank.views]
        pooled = np.mean([levels[-1].astype(np.float32).mean(axis=(1, 2)) for levels in views], axis=0)
        evidence = self.classifier.image_logits(pooled[None])[0]
        reduced = [reduce_one(self.reduction, levels) for levels in views]
        deep = deep_features(np.stack(reduced), self.options)
        if self.head is None:
            present = evidence > 0 if tags is None else tags
            activation = self.classifier.activation_maps(mean_level(self.bank, image))
            kept = normalise(torch.from_numpy(activation)).numpy() * np.asarray(present, np.float32)[:, None, None]
            method = self.options.igcam if self.options.method == "igcam" else self.options.cam
            return with_background(kept, method.background), deep
        with torch.inference_mode():
            logits = [self.head(torch.from_numpy(layers)[None]) for layers in reduced]
            total = sum(
                layer.flip(-1) if view.flip else layer for layer, view in zip(logits, self.bank.views, strict=True)
            ) / len(logits)
            if tags is None:
                share = self.options.tag_evidence * torch.from_numpy(evidence)
                total = torch.cat([total[:, :1], total[:, 1:] + share[None, :, None, None]], dim=1)
            probability: Array = torch.softmax(total, dim=1)[0].numpy()
        return probability if tags is None else restrict_to_tags(probability, np.asarray(tags, np.float32)), deep


def label(
    dataset: Dataset,
    run: str | Path | RunFolder,
    out: str | Path,
    *,
    bank: str | Path | None = None,
    use_tags: bool = True,
    stages: Sequence[str] | None = None,
    workers: int = 2,
    progress: Progress = no_progress,
) -> list[Path]:
    """Write a mask for each image, at its own size; images that have one already are skipped.

    Args:
        dataset: Photos, with tags or without; its classes must be those of the run.
        run: A finished run.
        out: Folder for NAME.png, palette PNGs with ids 0..C.
        bank: Folder of the feature bank; default: RUN/bank.
        use_tags: False predicts without tags even where they are known.
        stages: Drawing stages to apply, of `sharpen` and `crf`; None for those of the run.
        workers: Threads that draw.
        progress: Called with what is being done, the number done and the number to do.

    Returns:
        The masks' files, in the order of the data set.

    Raises:
        IgcamError: The run is not finished, has other classes, or photos cannot be read; the masks of the
            other photos are written before.
    """
    run = run if isinstance(run, RunFolder) else RunFolder.open(run)
    if dataset.classes and dataset.classes != run.classes:
        raise IgcamError(
            f"label: the classes must be those of the run, {', '.join(run.classes)}, got {', '.join(dataset.classes)}"
        )
    labeller = Labeller.open(run, Path(bank) if bank else run.file("bank"))
    files = [Path(out) / f"{sample.name}.png" for sample in dataset]
    todo = [(sample, file) for sample, file in zip(dataset, files, strict=True) if not file.exists()]
    options = mask_options(run.options, stages)
    problems: list[str] = []

    def draw(sample: Sample, file: Path, scores: Array, deep: Array) -> None:
        write_mask(file, final_mask(load_image(sample.image), scores, options, deep))

    with ThreadPoolExecutor(max(1, workers)) as threads:
        waiting = []
        for done, (sample, file) in enumerate(todo):
            tags = None
            if use_tags and sample.tags is not None:
                tags = np.isin(np.arange(len(run.classes)), sample.tags).astype(np.float32)
            try:
                waiting.append(threads.submit(draw, sample, file, *labeller.maps(sample.image, tags)))
            except IgcamError as error:
                problems.append(str(error))
            # The queue holds soft maps, so it is kept short.
            while len(waiting) > 4 * max(1, workers):
                waiting.pop(0).result()
            progress("label", done + 1, len(todo))
        for future in waiting:
            future.result()
    if problems:
        raise IgcamError.from_lines(f"{out}: {len(problems)} photos cannot be labelled:", problems)
    return files
