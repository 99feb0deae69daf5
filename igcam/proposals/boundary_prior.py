"""What a dense affinity says about objects: their distance from the border, and whose surroundings a place is in."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


def border_distance(affinity: Array, height: int, width: int, deviation: float = 0.6) -> Array:
    """Return how little each place belongs to a region that touches the image's border.

    A place's region is soft: every other place belongs to it as far as it is alike. Its connectivity is the
    part of the region that lies on the border, over the square root of its area; of the background that is
    large, of an object small, even of one that the border cuts. No activation map is needed.

    Args:
        affinity: float32 (h * w, h * w), such as `igcam.refine.affinity` returns.
        height: Rows h.
        width: Columns w.
        deviation: Connectivity at which the answer has fallen to 0.61; a square object that shares one side
            with the border has a connectivity of one.

    Returns:
        float32 (h, w) in 0..1: `exp(-connectivity^2 / (2 deviation^2))`.

    Source:
        Boundary connectivity: Zhu, Liang, Wei and Sun, "Saliency optimization from robust background
        detection", CVPR 2014; here on places instead of superpixels, alike by a network's features as well
        as by colour, without geodesic paths.
    """
    border = np.ones((height, width), np.float32)
    border[1:-1, 1:-1] = 0
    connectivity = (affinity @ border.ravel()) / np.sqrt(affinity.sum(axis=1))
    return np.asarray(np.exp(-(connectivity**2) / (2 * deviation**2)).reshape(height, width), np.float32)


def propagate(affinity: Array, maps: NDArray[np.floating]) -> Array:
    """Return maps (K, h, w) averaged over the places that are alike, float32 of the same shape."""
    flat = np.asarray(maps, np.float32).reshape(len(maps), -1)
    mean: Array = (flat @ affinity) / affinity.sum(axis=1)
    return mean.reshape(maps.shape)
