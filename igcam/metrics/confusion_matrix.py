"""Confusion matrix of a data set, and the scores derived from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

IGNORE = 255
"""Mask id of pixels that are not scored."""


@dataclass(frozen=True)
class Confusion:
    """Confusion matrix of one image or, added up, of a whole data set.

    `total = sum((confusion(t, p, 20) for t, p in pairs), start=Confusion.zeros(20))`.
    """

    counts: NDArray[np.int64]
    """int64 (K, K), K = classes + 1: truth in rows, prediction in columns, background first."""
    predicted_ignore: int = 0
    """Scored pixels whose prediction was 255; they are in `counts` as background."""

    @classmethod
    def zeros(cls, classes: int) -> Confusion:
        """Return the matrix of no pixel, for `classes` classes besides the background."""
        return cls(np.zeros((classes + 1, classes + 1), dtype=np.int64))

    def __add__(self, other: Confusion) -> Confusion:
        if self.counts.shape != other.counts.shape:
            shapes = f"{self.counts.shape} and {other.counts.shape}"
            raise ValueError(f"confusion: shapes must agree to be added, got {shapes}")
        return Confusion(self.counts + other.counts, self.predicted_ignore + other.predicted_ignore)


@dataclass(frozen=True)
class Scores:
    """Fractions between 0 and 1; the arrays are indexed by mask id, background first, NaN for absent classes."""

    miou: float
    """Mean IoU over the classes that occur in the truth or in the prediction of the whole set."""
    iou: NDArray[np.float64]
    """Intersection over union, float64 (K,)."""
    fpr: NDArray[np.float64]
    """False positives / union, float64 (K,); iou + fpr + fnr = 1."""
    fnr: NDArray[np.float64]
    """False negatives / union, float64 (K,)."""
    pixel_accuracy: float
    """Fraction of the scored pixels that are correct."""
    foreground_iou: float
    """IoU of all classes as one against the background; NaN where neither side has foreground."""
    absent: tuple[int, ...]
    """Mask ids in neither truth nor prediction; they are left out of the mean."""
    predicted_ignore: int
    """Scored pixels that were predicted as 255 and counted as background."""


def confusion(truth: NDArray[np.integer], prediction: NDArray[np.integer], classes: int) -> Confusion:
    """Count the pixels of one image by true and predicted class; K = classes + 1.

    Pixels whose truth is 255 are not counted. A predicted 255 counts as background: leaving it out would reward
    a method for not predicting.

    Args:
        truth: Integers (H, W), 0 = background, 1..classes, 255 = ignore.
        prediction: Integers of the same shape and meaning.
        classes: Number of classes besides the background, 1..254.

    Raises:
        ValueError: Shapes differ, an array is not of integers, or an id is above `classes` and not 255.
    """
    if not 1 <= classes <= IGNORE - 1:
        raise ValueError(f"classes: must lie in 1..254, got {classes}")
    if truth.shape != prediction.shape:
        raise ValueError(f"prediction: must have the shape of truth, got {prediction.shape} and {truth.shape}")
    pairs = _as_bytes(truth, "truth").astype(np.uint16) << 8
    pairs |= _as_bytes(prediction, "prediction")
    table = np.bincount(pairs.ravel(), minlength=1 << 16).reshape(256, 256)
    _check_ids(table.sum(axis=1), "truth", classes)
    _check_ids(table.sum(axis=0), "prediction", classes)
    counts = table[: classes + 1, : classes + 1].astype(np.int64)
    predicted_ignore = table[: classes + 1, IGNORE]
    counts[:, 0] += predicted_ignore
    return Confusion(counts, int(predicted_ignore.sum()))


def scores(confusion: Confusion) -> Scores:
    """Turn the counts of a data set into scores; ValueError if no pixel was counted.

    The mean runs over classes that occur in the truth or the prediction of the whole set, not per image.

    Source:
        False positives and false negatives as fractions of the union: Wang et al., SEAM, CVPR 2020.
    """
    counts = confusion.counts
    total = int(counts.sum())
    if total == 0:
        raise ValueError("confusion: must hold at least one scored pixel, got none")
    hit = np.diagonal(counts).astype(np.float64)
    true, predicted = counts.sum(axis=1), counts.sum(axis=0)
    union = true + predicted - hit
    iou, fpr, fnr = (ratio(part, union) for part in (hit, predicted - hit, true - hit))
    foreground_union = total - int(counts[0, 0])
    return Scores(
        miou=float(np.nanmean(iou)),
        iou=iou,
        fpr=fpr,
        fnr=fnr,
        pixel_accuracy=float(hit.sum() / total),
        foreground_iou=float(counts[1:, 1:].sum() / foreground_union) if foreground_union else float("nan"),
        absent=tuple(int(index) for index in np.flatnonzero(union == 0)),
        predicted_ignore=confusion.predicted_ignore,
    )


def ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    """Divide two arrays of counts, float64 of one shape, with NaN where the whole is 0."""
    result = np.full(whole.shape, np.nan)
    np.divide(part, whole, out=result, where=whole > 0)
    return result


def _as_bytes(mask: NDArray[np.integer], name: str) -> NDArray[np.uint8]:
    if not np.issubdtype(mask.dtype, np.integer):
        raise ValueError(f"{name}: must be an array of integers, got {mask.dtype}")
    if mask.dtype != np.uint8 and mask.size and (mask.min() < 0 or mask.max() > IGNORE):
        raise ValueError(f"{name}: ids must lie in 0..255, got {mask.min()}..{mask.max()}")
    return mask.astype(np.uint8, copy=False)


def _check_ids(pixels_by_id: NDArray[np.int64], name: str, classes: int) -> None:
    outside = np.flatnonzero(pixels_by_id[classes + 1 : IGNORE]) + classes + 1
    if outside.size:
        raise ValueError(f"{name}: ids must be 0..{classes} or 255, got {outside.tolist()}")
