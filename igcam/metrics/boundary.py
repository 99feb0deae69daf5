"""Boundary IoU: the overlap of the bands along the inside of contours."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from igcam.metrics.confusion import IGNORE, share


@dataclass(frozen=True)
class BoundaryScores:
    """Shares between 0 and 1; `iou` is indexed by mask id, background first, NaN for absent classes."""

    miou: float
    """Mean over the classes that have a band in the truth or in the prediction of the whole set."""
    iou: NDArray[np.float64]
    """Boundary IoU of every class, float64 (K,)."""
    absent: tuple[int, ...]
    """Mask ids without any band; they are left out of the mean."""


def boundary_counts(
    truth: NDArray[np.integer],
    prediction: NDArray[np.integer],
    classes: int,
    dilation_ratio: float = 0.02,
) -> NDArray[np.int64]:
    """Count the overlap of the boundary bands of one image; add the counts of the images of a data set.

    The band of a class is the part of its mask within d pixels (the larger of rows and columns) of anything
    outside it; beyond the image is outside. d is `dilation_ratio` of the diagonal, rounded, at least 1.

    Pixels whose truth is 255 are taken out of both masks before the bands are drawn. So a perfect prediction
    scores 1 whatever it says there, and the edge of the ignored region counts as a contour.

    Args:
        truth: Integers (H, W), 0 = background, 1..classes, 255 = ignore.
        prediction: Integers of the same shape; 255 counts as background.
        classes: Number of classes besides the background.
        dilation_ratio: 0.02 as for COCO and LVIS; 0.005 is used for Cityscapes.

    Returns:
        int64 (K, 2), K = classes + 1: pixels in both bands, pixels in either.

    Raises:
        ValueError: Shapes differ, or an id is above `classes` and not 255.

    Source:
        Cheng et al., "Boundary IoU: improving object-centric image segmentation evaluation", CVPR 2021.
    """
    check_masks(truth, prediction, classes)
    if dilation_ratio <= 0:
        raise ValueError(f"dilation_ratio: must be above 0, got {dilation_ratio}")
    ignored = truth == IGNORE
    answered = np.where(prediction == IGNORE, 0, prediction)
    width = max(1, round(dilation_ratio * float(np.hypot(*truth.shape))))
    counts = np.zeros((classes + 1, 2), dtype=np.int64)
    for index in np.union1d(truth[~ignored], answered[~ignored]):
        true_band = inner_band((truth == index) & ~ignored, width)
        predicted_band = inner_band((answered == index) & ~ignored, width)
        both = np.count_nonzero(true_band & predicted_band)
        counts[index] = both, np.count_nonzero(true_band) + np.count_nonzero(predicted_band) - both
    return counts


def check_masks(truth: NDArray[np.integer], prediction: NDArray[np.integer], classes: int) -> None:
    """Refuse masks that are not integers of one shape (H, W) with ids 0..classes or 255, in one line."""
    if truth.ndim != 2 or truth.shape != prediction.shape:
        raise ValueError(f"prediction: must be (H, W) like truth, got {prediction.shape} and {truth.shape}")
    for name, mask in (("truth", truth), ("prediction", prediction)):
        if not np.issubdtype(mask.dtype, np.integer):
            raise ValueError(f"{name}: must be an array of integers, got {mask.dtype}")
        wrong = np.unique(mask[((mask < 0) | (mask > classes)) & (mask != IGNORE)])
        if wrong.size:
            raise ValueError(f"{name}: ids must be 0..{classes} or 255, got {', '.join(map(str, wrong[:9]))}")


def boundary_iou(counts: NDArray[np.int64]) -> BoundaryScores:
    """Turn the added counts of a data set, int64 (K, 2), into scores.

    Raises:
        ValueError: No class has a band.
    """
    if not counts[:, 1].any():
        raise ValueError("counts: must hold at least one boundary, got none")
    iou = share(counts[:, 0].astype(np.float64), counts[:, 1].astype(np.float64))
    absent = tuple(int(index) for index in np.flatnonzero(counts[:, 1] == 0))
    return BoundaryScores(miou=float(np.nanmean(iou)), iou=iou, absent=absent)


def inner_band(mask: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    """Return the pixels of a bool (H, W) mask that lie within `width` pixels of its outside."""
    band = np.zeros(mask.shape, dtype=bool)
    filled = mask.astype(np.uint8, order="C")
    x, y, columns, rows = cv2.boundingRect(filled)
    if columns == 0:
        return band
    crop = np.pad(filled[y : y + rows, x : x + columns], 1)
    square = np.ones((2 * width + 1, 2 * width + 1), dtype=np.uint8)
    interior = np.asarray(cv2.erode(crop, square))[1:-1, 1:-1]
    band[y : y + rows, x : x + columns] = (crop[1:-1, 1:-1] > 0) & (interior == 0)
    return band
