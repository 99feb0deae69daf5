"""IoU within bands of growing width along true boundaries."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from igcam.metrics.boundary import check_masks
from igcam.metrics.confusion import Confusion, confusion, scores
from igcam.metrics.unknown import filled

WIDTHS = tuple(range(1, 41))
"""Widths of the bands in pixels."""


def trimap_counts(
    truth: NDArray[np.integer], prediction: NDArray[np.integer], classes: int, widths: tuple[int, ...] = WIDTHS
) -> list[Confusion]:
    """Count the pixels of one image near true boundaries by class; add the counts of the images of a data set.

    A pixel lies within a band of width w if the true class changes at most w pixels away; one on either side of
    the change is one pixel away. Where the truth is 255 the change runs along the middle, as in the rings around
    VOC's objects, and pixels there are not scored. The edge of the image is no boundary.

    Args:
        truth: Integers (H, W), 0 = background, 1..classes, 255 = ignore.
        prediction: Integers of the same shape; 255 counts as background.
        classes: Number of classes besides the background.
        widths: Pixels, growing.

    Returns:
        One confusion for each width, each including those before.

    Raises:
        ValueError: Shapes differ, an id is above `classes` and not 255, or widths do not grow.

    Source:
        Bands along boundaries: Kohli, Ladicky and Torr, IJCV 2009; mean IoU in them: Chen et al. (DeepLab), 2018.
    """
    check_masks(truth, prediction, classes)
    if not widths or min(widths) < 1 or list(widths) != sorted(set(widths)):
        raise ValueError(f"widths: must grow and be at least 1, got {widths}")
    distance = _distance_to_change(truth)
    total = Confusion.zeros(classes)
    result = []
    reached = 0.0
    for width in widths:
        within = (distance > reached) & (distance <= width)
        total = total + confusion(truth[within][None], prediction[within][None], classes)
        result.append(total)
        reached = width
    return result


def trimap_iou(counts: list[Confusion]) -> NDArray[np.float64]:
    """Return the mean IoU within each band, float64, from the added counts of a data set; NaN for an empty band."""
    return np.array([scores(band).miou if band.counts.any() else np.nan for band in counts])


def _distance_to_change(truth: NDArray[np.integer]) -> NDArray[np.float32]:
    """Return how many pixels the nearest change of the true class is away, at least 1; infinity without one."""
    whole, _ = filled(truth)
    beside = np.zeros(truth.shape, bool)
    for first, second in ((np.s_[:-1], np.s_[1:]), (np.s_[:, :-1], np.s_[:, 1:])):
        change = whole[first] != whole[second]
        beside[first] |= change
        beside[second] |= change
    if not beside.any():
        return np.full(truth.shape, np.inf, np.float32)
    distance = cv2.distanceTransform((~beside).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(distance, np.float32) + 1
