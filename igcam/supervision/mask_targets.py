"""From pseudo masks to what a segmenter learns: soft targets on its grid, and how much each place counts."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from igcam.data.masks import IGNORE, present_ids
from igcam.refine.stack import resized

Array = NDArray[np.float32]


def mask_target(mask: NDArray[np.uint8], classes: int, height: int, width: int) -> tuple[Array, Array]:
    """Return what share of each place every class has, among the pixels that are known.

    Args:
        mask: uint8 (H, W) with ids 0..C and 255 for unknown.
        classes: Number of classes C, without background.
        height: Rows of the grid.
        width: Its columns.

    Returns:
        Target, float32 (C + 1, h, w), summing to one where something is known, else all background; and the share
        of known pixels, float32 (h, w).

    Raises:
        ValueError: An id is neither a class nor 255.
    """
    ids = [value for value in present_ids(mask) if value != IGNORE]
    if ids and ids[-1] > classes:
        raise ValueError(f"mask: ids must be 0..{classes} or 255, got {ids[-1]}")
    target = np.zeros((classes + 1, height, width), np.float32)
    if ids:
        target[ids] = resized(np.stack([mask == value for value in ids]), height, width, cv2.INTER_AREA)
    known: Array = target.sum(axis=0)
    target[0] += known == 0
    target /= np.where(known == 0, 1, known)
    return target, np.minimum(known, 1)


def class_weights(shares: NDArray[np.floating], power: float) -> Array:
    """Return how much a place of each class counts, float32 (K,): its share to the power of -power, one on average.

    Args:
        shares: Float (K,), at least 0: how much of all that is trusted is of each class; any sum will do.
        power: 0 counts all alike, 1 gives every class the same sum.
    """
    total = float(shares.sum())
    if total == 0:
        return np.ones(len(shares), np.float32)
    shares = np.asarray(shares, np.float64) / total
    # A class that is nearly nowhere does not count without end.
    weights = np.where(shares > 0, np.maximum(shares, 1e-4) ** -power, 0)
    return (weights / (shares * weights).sum()).astype(np.float32)
