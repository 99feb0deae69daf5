"""Dense affinities: how alike any two places are, by features, colours and distance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from igcam.errors import IgcamError, check_ranges

Array = NDArray[np.float32]


@dataclass(frozen=True)
class DenseAffinityOptions:
    """What makes two places alike."""

    power: float = 1.0
    """The cosine of two features, cut off at zero, is raised to this power; 0 leaves the features out."""
    colour: float = 20.0
    """Standard deviation of the difference in colour, in units of CIE Lab; 0 leaves the colours out."""
    reach: float = 8.0
    """Standard deviation of the Gaussian of the distance, in places of a 24 x 24 map; scales with others."""

    def __post_init__(self) -> None:
        check_ranges(self, power=(0, math.inf), reach=(1e-3, math.inf))
        if not (self.colour == 0 or self.colour >= 0.01):
            raise IgcamError(f"colour must be 0 or at least 0.01, got {self.colour}")


def dense_affinity(
    feature: NDArray[np.floating], image: NDArray[np.uint8] | None, options: DenseAffinityOptions | None = None
) -> Array:
    """Return how alike any two places are: the product of the likeness by features, colours and distance.

    Args:
        feature: Float (D, h, w).
        image: uint8 (h, w, 3), RGB: the photo at the size of the feature; None leaves the colours out.
        options: Defaults to `DenseAffinityOptions()`.

    Returns:
        float32 (h * w, h * w) in 0..1, symmetric, 1 for a place with itself.

    Raises:
        ValueError: Shapes differ, or the feature is not finite.

    Source:
        The cosine cut off at zero: pixel correlation of Wang et al. (SEAM), CVPR 2020, which has power one and
        neither colours nor distance.
    """
    options = options or DenseAffinityOptions()
    if feature.ndim != 3 or not np.isfinite(feature).all():
        raise ValueError(f"feature: must be finite (D, h, w), got {feature.dtype} {feature.shape}")
    height, width = feature.shape[1:]
    affinity = _nearness(height, width, options.reach).copy()
    if options.power > 0:
        affinity *= _cosine(feature) ** np.float32(options.power)
    if options.colour > 0 and image is not None:
        if image.shape != (height, width, 3) or image.dtype != np.uint8:
            raise ValueError(f"image: must be uint8 ({height}, {width}, 3), got {image.dtype} {image.shape}")
        affinity *= _colour_likeness(image, options.colour)
    return affinity


def _cosine(feature: NDArray[np.floating]) -> Array:
    flat = np.asarray(feature, dtype=np.float32).reshape(len(feature), -1)
    # The little constant makes places without any feature alike, instead of like nothing.
    flat = np.concatenate([flat, np.full((1, flat.shape[1]), 1e-6, np.float32)])
    unit = flat / np.linalg.norm(flat, axis=0)
    cosine = unit.T @ unit
    return np.asarray(np.clip(cosine, 0, 1, out=cosine), np.float32)


def _colour_likeness(image: NDArray[np.uint8], deviation: float) -> Array:
    lab = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2Lab).reshape(-1, 3).T / np.float32(deviation)
    squared = np.zeros((lab.shape[1], lab.shape[1]), np.float32)
    difference = np.empty_like(squared)
    for channel in lab:
        np.subtract(channel[:, None], channel, out=difference)
        difference *= difference
        squared += difference
    squared *= np.float32(-0.5)
    return np.asarray(np.exp(squared, out=squared), np.float32)


@lru_cache(maxsize=4)
def _nearness(height: int, width: int, reach: float) -> Array:
    rows, columns = np.mgrid[:height, :width].reshape(2, -1).astype(np.float32)
    rows, columns = rows * (24 / height), columns * (24 / width)
    squared = (rows[:, None] - rows) ** 2 + (columns[:, None] - columns) ** 2
    return np.exp(-squared / np.float32(2 * reach**2))
