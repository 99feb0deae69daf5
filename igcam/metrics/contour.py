"""Contour F: how many contour pixels of one side have a counterpart near on the other."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from igcam.metrics.boundary import check_masks
from igcam.metrics.confusion import IGNORE, share
from igcam.metrics.unknown import filled


@dataclass(frozen=True)
class ContourScores:
    """Shares between 0 and 1; the arrays are indexed by mask id, background first, NaN for absent classes."""

    mean_f: float
    """Mean F over the classes that have a contour on either side of the whole set, background left out unless
    nothing else has one."""
    f: NDArray[np.float64]
    """2 precision recall / (precision + recall), float64 (K,); 0 where one side alone has a contour."""
    precision: NDArray[np.float64]
    """Share of the predicted contour that is near the true one, float64 (K,); NaN where nothing is predicted."""
    recall: NDArray[np.float64]
    """Share of the true contour that is near the predicted one, float64 (K,); NaN where there is no true one."""


def contour_counts(
    truth: NDArray[np.integer],
    prediction: NDArray[np.integer],
    classes: int,
    tolerance: float = 0.008,
) -> NDArray[np.int64]:
    """Count the contour pixels of one image that are matched; add the counts of the images of a data set.

    The contour of a class are the pixels of its mask that have a pixel of another class above, below, left or
    right. The border of the image is no contour. Where the truth is 255 its contour runs along the middle, as in
    the rings around VOC's objects; contours of either side that lie deeper in the unknown than the reach do not
    count. A contour pixel is matched if the other side has one of the same class within the reach,
    `ceil(tolerance * diagonal)` pixels.

    Args:
        truth: Integers (H, W), 0 = background, 1..classes, 255 = ignore.
        prediction: Integers of the same shape; 255 counts as background.
        classes: Number of classes besides the background.
        tolerance: Share of the diagonal; 0.008 is that of DAVIS.

    Returns:
        int64 (K, 4), K = classes + 1: predicted pixels matched, predicted, true pixels matched, true.

    Raises:
        ValueError: Shapes differ, or an id is above `classes` and not 255.

    Source:
        Perazzi et al., "A benchmark dataset and evaluation methodology for video object segmentation", CVPR 2016,
        with matching by distance. Here the counts of a data set are added before they are divided.
    """
    check_masks(truth, prediction, classes)
    if not 0 < tolerance < 1:
        raise ValueError(f"tolerance: must lie between 0 and 1, got {tolerance}")
    reach = math.ceil(tolerance * math.hypot(*truth.shape))
    whole, depth = filled(truth)
    counted = depth <= reach
    sides = [np.where(prediction == IGNORE, 0, prediction), whole]
    contours = [_on_contour(side) & counted for side in sides]
    counts = np.zeros((classes + 1, 4), np.int64)
    for index in np.union1d(sides[0][counted], sides[1][counted]):
        predicted, true = (contour & (side == index) for side, contour in zip(sides, contours, strict=True))
        counts[index] = _near(predicted, true, reach), predicted.sum(), _near(true, predicted, reach), true.sum()
    return counts


def contour_scores(counts: NDArray[np.int64]) -> ContourScores:
    """Turn the added counts of a data set, int64 (K, 4), into scores.

    Raises:
        ValueError: No class has a contour.
    """
    numbers = counts.astype(np.float64)
    if not counts[:, [1, 3]].any():
        raise ValueError("counts: must hold at least one contour pixel, got none")
    precision, recall = share(numbers[:, 0], numbers[:, 1]), share(numbers[:, 2], numbers[:, 3])
    total = np.nan_to_num(precision) + np.nan_to_num(recall)
    product = np.nan_to_num(precision) * np.nan_to_num(recall)
    f = np.divide(2 * product, total, out=np.zeros(len(counts)), where=total > 0)
    f[counts[:, [1, 3]].sum(axis=1) == 0] = np.nan
    objects = f[1:]
    mean = np.nanmean(objects) if not np.isnan(objects).all() else f[0]
    return ContourScores(mean_f=float(mean), f=f, precision=precision, recall=recall)


def _on_contour(mask: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Mark the pixels that have one of another id above, below, left or right."""
    changes = np.zeros(mask.shape, bool)
    for first, second in ((np.s_[:-1], np.s_[1:]), (np.s_[:, :-1], np.s_[:, 1:])):
        differ = mask[first] != mask[second]
        changes[first] |= differ
        changes[second] |= differ
    return changes


def _near(these: NDArray[np.bool_], those: NDArray[np.bool_], reach: int) -> int:
    """Count the pixels of `these` with one of `those` within `reach` pixels, by one distance transform."""
    if not these.any() or not those.any():
        return 0
    distance = cv2.distanceTransform((~those).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return int(np.count_nonzero(distance[these] <= reach + 1e-4))
