"""The guided filter: a map becomes a local linear function of the photo's colours."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


def guided_filter(
    image: NDArray[np.uint8], probability: NDArray[np.floating], radius: int = 8, contrast: float = 0.02
) -> Array:
    """Smooth probabilities along the edges of the image.

    Args:
        image: uint8 (H, W, 3).
        probability: Float (K, H, W) in 0..1, summing to one over the classes.
        radius: Half side of the window in pixels, at least 1.
        contrast: Standard deviation of colour, in 0..1, below which a window counts as flat.

    Returns:
        float32 (K, H, W) in 0..1, summing to one.

    Raises:
        ValueError: A shape, a dtype or a value is out of these ranges.

    Source:
        He, Sun and Tang, "Guided image filtering", ECCV 2010.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise ValueError(f"image: must be uint8 (H, W, 3), got {image.dtype} {image.shape}")
    if probability.ndim != 3 or probability.shape[1:] != image.shape[:2] or 0 in probability.shape:
        raise ValueError(f"probability: must be (K, {image.shape[0]}, {image.shape[1]}), got {probability.shape}")
    if not np.issubdtype(probability.dtype, np.floating) or not np.isfinite(probability).all():
        raise ValueError(f"probability: must be finite floats, got {probability.dtype} or NaN or infinity")
    if probability.min() < -1e-4 or np.abs(probability.sum(axis=0) - 1).max() > 1e-3:
        raise ValueError("probability: must be at least 0 and sum to one over the classes")
    if radius < 1 or not contrast > 0:
        raise ValueError(f"radius, contrast: must be at least 1 and above 0, got {radius} and {contrast}")
    guide = image.astype(np.float32) / 255
    layers = [
        cv2.ximgproc.guidedFilter(guide, np.ascontiguousarray(layer, np.float32), radius, contrast**2)
        for layer in probability
    ]
    kept = np.clip(np.stack(layers), 0, 1) + np.float32(1e-8)
    return np.asarray(kept / kept.sum(axis=0), np.float32)
