"""The guided filter: a map becomes a locally linear function of the colours of the photo."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from igcam.refine.stack import check_image, check_probability

Array = NDArray[np.float32]


def guided_filter(
    image: NDArray[np.uint8], probability: NDArray[np.floating], radius: int = 8, contrast: float = 0.02
) -> Array:
    """Smooth probabilities along the edges of the image; float32 (K, H, W), summing to one over the classes.

    Args:
        image: uint8 (H, W, 3).
        probability: Float (K, H, W) in 0..1, summing to one over the classes.
        radius: Half side of the window in pixels, at least 1.
        contrast: Standard deviation of colour, in 0..1, below which a window counts as flat.

    Raises:
        ValueError: A shape, a dtype or a value is out of these ranges.

    Source: He, Sun and Tang, "Guided image filtering", ECCV 2010.
    """
    check_image(image)
    if probability.ndim != 3 or probability.shape[1:] != image.shape[:2] or 0 in probability.shape:
        raise ValueError(f"probability: must be (K, {image.shape[0]}, {image.shape[1]}), got {probability.shape}")
    check_probability(probability)
    if radius < 1 or not contrast > 0:
        raise ValueError(f"radius, contrast: must be at least 1 and above 0, got {radius} and {contrast}")
    guide = np.moveaxis(image, -1, 0).astype(np.float32) / np.float32(255)
    size = (2 * radius + 1, 2 * radius + 1)
    count = _sums(np.ones((1, *image.shape[:2]), np.float32), size)

    def mean(layers: Array) -> Array:
        """Average (n, H, W) over the part of the window that lies within the image."""
        return _sums(layers, size) / count

    mean_guide = mean(guide)
    pairs = [(first, second) for first in range(3) for second in range(first, 3)]
    covariance = mean(np.stack([guide[a] * guide[b] for a, b in pairs]))
    covariance -= np.stack([mean_guide[a] * mean_guide[b] for a, b in pairs])
    covariance[[0, 3, 5]] += np.float32(contrast**2)
    inverse = _inverse(covariance)
    result = np.empty(probability.shape, np.float32)
    for index, layer in enumerate(np.asarray(probability, np.float32)):
        mean_layer = mean(layer[None])
        shared = mean(guide * layer) - mean_guide * mean_layer
        slope = np.einsum("abyx,byx->ayx", inverse, shared)
        offset = mean_layer - (slope * mean_guide).sum(axis=0)
        result[index] = (mean(slope) * guide).sum(axis=0) + mean(offset)[0]
    kept = np.clip(result, 0, 1) + np.float32(1e-8)
    return np.asarray(kept / kept.sum(axis=0), np.float32)


def _sums(layers: Array, size: tuple[int, int]) -> Array:
    return np.stack(
        [cv2.boxFilter(layer, cv2.CV_32F, size, normalize=False, borderType=cv2.BORDER_CONSTANT) for layer in layers]
    )


def _inverse(symmetric: Array) -> Array:
    """Invert 3 x 3 matrices, given as (6, H, W) in the order 00, 01, 02, 11, 12, 22; return (3, 3, H, W)."""
    a, b, c, d, e, f = symmetric.astype(np.float64)
    cofactors = np.array([[d * f - e * e, c * e - b * f, b * e - c * d]] * 3)
    cofactors[1] = c * e - b * f, a * f - c * c, b * c - a * e
    cofactors[2] = b * e - c * d, b * c - a * e, a * d - b * b
    determinant = a * cofactors[0, 0] + b * cofactors[0, 1] + c * cofactors[0, 2]
    return np.asarray(cofactors / determinant, np.float32)
