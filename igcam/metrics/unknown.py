"""Boundaries in truths that leave a ring around objects unknown, as VOC's do."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from igcam.metrics.confusion import IGNORE


def filled(truth: NDArray[np.integer]) -> tuple[NDArray[np.integer], NDArray[np.float32]]:
    """Give every unknown pixel the id of the nearest known one, so that boundaries run along the middle of rings.

    Args:
        truth: Integers (H, W), 255 = unknown.

    Returns:
        The ids, and how far each pixel is from the nearest known one, float32 (H, W), 0 for a known pixel. Where
        nothing is known, the ids stay and the distance is infinite.
    """
    unknown = truth == IGNORE
    if not unknown.any():
        return truth, np.zeros(truth.shape, np.float32)
    if unknown.all():
        return truth, np.full(truth.shape, np.inf, np.float32)
    distance, nearest = cv2.distanceTransformWithLabels(
        unknown.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    ids = np.zeros(int(nearest.max()) + 1, truth.dtype)
    ids[nearest[~unknown]] = truth[~unknown]
    return ids[nearest], np.asarray(distance, np.float32)
