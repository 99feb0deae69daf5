"""Training targets from masks, and weights that balance few masks and rare classes."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from igcam.data.masks import IGNORE, present_ids
from igcam.refine.stack import resized

Array = NDArray[np.float32]


def mask_target(mask: NDArray[np.uint8], classes: int, height: int, width: int) -> tuple[Array, Array]:
    """Return the share of each class in the known pixels of every location of a grid (h, w) = (height, width).

    The mask is uint8 (H, W) with ids 0..C, C the number of `classes` without background, and 255 for unknown.

    Returns:
        Target, float32 (C + 1, h, w), summing to one, all background where nothing is known; and the share of known
        pixels, float32 (h, w).

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
    """Return the weight of each class, float32 (K,): its share to the power of -power, one on average.

    Shares are at least 0 and of any sum; a power of 0 weights all classes equally, 1 gives every class the same total.
    """
    total = float(shares.sum())
    if total == 0:
        return np.ones(len(shares), np.float32)
    shares = np.asarray(shares, np.float64) / total
    # The weight of a very rare class stays bounded.
    weights = np.where(shares > 0, np.maximum(shares, 1e-4) ** -power, 0)
    return (weights / (shares * weights).sum()).astype(np.float32)


def mask_weight_factor(masked: float, others: float, share: float, maximum: float = math.inf) -> float:
    """Return the factor, 1 to `maximum`, that gives given masks a share, 0 to below 1, of the total weight.

    `masked` is the total weight of the locations of given masks, `others` that of all others.
    """
    wanted = share / (1 - share) * others
    return min(max(wanted / max(masked, 1e-6), 1.0), maximum)
