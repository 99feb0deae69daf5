"""Scoring masks against the truth."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from igcam.core.errors import IgcamError
from igcam.core.progress import Progress, no_progress
from igcam.data.masks import read_mask_file
from igcam.data.sample import Dataset, Sample
from igcam.metrics.boundary import BoundaryScores, boundary_counts, boundary_iou
from igcam.metrics.confusion_matrix import Confusion, Scores, confusion, scores
from igcam.metrics.ledger import Ledger
from igcam.metrics.results import Row, score_rows, write_results


@dataclass(frozen=True)
class Evaluation:
    """Scores of a set of masks."""

    classes: tuple[str, ...]
    """Names without background."""
    scores: Scores
    """IoU, false positive and false negative shares, and their means."""
    boundary: BoundaryScores
    """Boundary IoU."""
    images: dict[str, float]
    """Name -> mean IoU over the classes in the truth or the mask of this image, 0 to 1."""

    def rows(self, prefix: str = "") -> list[Row]:
        """List all scores in percent."""
        names = ("background", *self.classes)
        rows = score_rows(self.scores, self.classes, prefix)
        rows.insert(1, Row(f"{prefix}boundary_iou", 100 * self.boundary.miou, "%"))
        rows += [
            Row(f"{prefix}boundary_iou/{name}", 100 * float(value), "%")
            for name, value in zip(names, self.boundary.iou, strict=True)
            if not np.isnan(value)
        ]
        return rows


def evaluate(
    masks: str | Path,
    dataset: Dataset,
    ledger: Ledger | None = None,
    output: str | Path | None = None,
    workers: int = 2,
    progress: Progress = no_progress,
) -> Evaluation:
    """Score the masks of a folder against the truth of a data set.

    Args:
        masks: Folder with NAME.png for each sample.
        dataset: Samples without truth are left out.
        ledger: Supervision behind the masks, for `output`.
        output: JSON file for the ledger and the rows.
        workers: Threads.
        progress: Called with the task, the number done and the number to do.

    >>> result = igcam.evaluate("masks", igcam.read_folder("photos", "tags.csv", "masks"))
    >>> result.scores.miou
    1.0

    Raises:
        IgcamError: There is no truth or only 255 in it, masks are missing or damaged, or have another size or
            unknown ids; all of them are named.
    """
    masks = Path(masks)
    known = [sample for sample in dataset if sample.truth is not None]
    if not known:
        raise IgcamError(f"{masks}: no image has a true mask to compare with")
    paths = [masks / f"{sample.name}.png" for sample in known]
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        raise IgcamError.from_lines(f"{masks}: {len(missing)} of {len(known)} masks are missing:", missing)
    classes = len(dataset.classes)
    total, bands = Confusion.zeros(classes), np.zeros((classes + 1, 2), np.int64)
    images: dict[str, float] = {}
    problems: list[str] = []
    with ThreadPoolExecutor(max(1, workers)) as threads:
        compared = threads.map(_compare, paths, known, repeat(classes))
        for sample, found in zip(known, compared, strict=True):
            if isinstance(found, str):
                problems.append(found)
                continue
            total, bands = total + found[0], bands + found[1]
            images[sample.name] = scores(found[0]).miou if found[0].counts.any() else float("nan")
            progress("evaluate", len(images), len(known))
    if problems:
        raise IgcamError.from_lines(f"{masks}: {len(problems)} masks cannot be scored:", problems)
    if not total.counts.any():
        raise IgcamError(f"{masks}: every pixel of the truth is 255, so nothing can be scored")
    result = Evaluation(dataset.classes, scores(total), boundary_iou(bands), images)
    if output is not None:
        ledger = ledger or Ledger(method="unknown", split="unknown", split_size=len(known), tags_at_inference=False)
        write_results(output, ledger, result.rows())
    return result


def _compare(path: Path, sample: Sample, classes: int) -> tuple[Confusion, NDArray[np.int64]] | str:
    try:
        prediction = read_mask_file(path)
        truth = sample.truth.read() if sample.truth is not None else prediction
    except IgcamError as error:
        return str(error)
    if prediction.shape != truth.shape:
        sizes = [f"{shape[1]} x {shape[0]}" for shape in (prediction.shape, truth.shape)]
        return f"{path}: is {sizes[0]} pixels, its truth {sizes[1]}"
    try:
        return confusion(truth, prediction, classes), boundary_counts(truth, prediction, classes)
    except ValueError as error:
        return f"{path}: {error}"
