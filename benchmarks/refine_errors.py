"""Rows for benchmarks/refine.py: what is still wrong after the pyramid, and what a coarse map could give at most."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray
from refine_rivals import enlarge

from igcam.data.masks import IGNORE
from igcam.metrics.boundary import filled

NEAR = 0.02
"""Share of the diagonal."""
KINDS = ("near-edges", "missed", "invented", "wrong-class")


def wrong_pixels(truth: NDArray[np.uint8], mask: NDArray[np.uint8], near: float = NEAR) -> NDArray[np.int64]:
    """Count the wrong pixels of one image by kind, and all that are scored, int64 (5,).

    Near edges are those within `near` of the diagonal of a true change of class; the others are missed objects,
    invented ones, or objects of another class.
    """
    scored = truth != IGNORE
    wrong = scored & (truth != mask)
    close = near_edges(truth, near)
    far = wrong & ~close
    parts = (wrong & close, far & (mask == 0), far & (truth == 0), far & (truth > 0) & (mask > 0), scored)
    return np.array([np.count_nonzero(part) for part in parts])


def near_edges(truth: NDArray[np.uint8], near: float = NEAR) -> NDArray[np.bool_]:
    """Return what lies within `near` of the diagonal of a true change of class, bool (H, W)."""
    whole, _ = filled(truth)
    square = np.ones((3, 3), np.uint8)
    edges = cv2.dilate(whole, square) != cv2.erode(whole, square)
    if not edges.any():
        return np.zeros(truth.shape, bool)
    distance = cv2.distanceTransform((~edges).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    close: NDArray[np.bool_] = distance <= near * float(np.hypot(*truth.shape))
    return close


def best_coarse_map(image: NDArray[np.uint8], truth: NDArray[np.uint8], locations: int) -> NDArray[np.uint8]:
    """Return the mask of the truth shrunk to so many places a side and enlarged bilinearly."""
    whole = np.where(truth == IGNORE, 0, truth)
    ids = np.unique(whole)
    layers = [(whole == index).astype(np.float32) for index in ids]
    small = np.stack([cv2.resize(layer, (locations, locations), interpolation=cv2.INTER_AREA) for layer in layers])
    return np.asarray(ids[enlarge(image, small).argmax(axis=0)], np.uint8)


def told(add: Callable[..., None], name: str, counts: NDArray[np.int64]) -> None:
    """Add the share of the scored pixels that is wrong in each way."""
    for kind, count in zip(KINDS, counts, strict=False):
        add(f"pyramid/{name}/wrong/{kind}", 100 * count / counts[-1], "%", "of all pixels, after the pyramid")
