"""Dense affinities: how alike any two places are, by features, colours and distance."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from igcam.core.errors import IgcamError, check_ranges

Array = NDArray[np.float32]

BLOCK = 96
"""Rows at a time, so that what is worked on stays in the cache."""


@dataclass(frozen=True)
class DenseAffinityOptions:
    """What makes two places alike."""

    power: float = 1.0
    """The cosine of two features, cut off at zero, is raised to this power; 0 leaves the features out."""
    colour: float = 20.0
    """Standard deviation of the difference in colour, in units of CIE Lab; 0 leaves the colours out."""
    radius: float = 8.0
    """Standard deviation of the Gaussian of the distance, in places of a 24 x 24 map; scales with others."""

    def __post_init__(self) -> None:
        check_ranges(self, power=(0, math.inf), radius=(1e-3, math.inf))
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
    coordinates = _locations(height, width) / np.float32(options.radius)
    if options.colour > 0 and image is not None:
        if image.shape != (height, width, 3) or image.dtype != np.uint8:
            raise ValueError(f"image: must be uint8 ({height}, {width}, 3), got {image.dtype} {image.shape}")
        coordinates = np.concatenate([coordinates, _lab(image) / np.float32(options.colour)])
    left, right = _gaussian_factors(coordinates)
    unit = _unit(feature) if options.power > 0 else None
    affinity = np.empty((height * width, height * width), np.float32)
    for start in range(0, len(affinity), BLOCK):
        rows, columns = slice(start, start + BLOCK), slice(start, None)
        block = affinity[rows, columns]
        np.exp(np.minimum(left[rows] @ right[:, columns], 0).astype(np.float32), out=block)
        if unit is not None:
            cosine = unit[:, rows].T @ unit[:, columns]
            np.clip(cosine, 0, 1, out=cosine)
            block *= cosine if options.power == 1 else cosine ** np.float32(options.power)
        # Two places are as alike the other way round.
        affinity[columns, rows] = block.T
    return affinity


def _unit(feature: NDArray[np.floating]) -> Array:
    """Return features (D + 1, n) of length one."""
    flat = np.asarray(feature, dtype=np.float32).reshape(len(feature), -1)
    # The little constant makes places without any feature alike, instead of like nothing.
    flat = np.concatenate([flat, np.full((1, flat.shape[1]), 1e-6, np.float32)])
    unit: Array = flat / np.linalg.norm(flat, axis=0)
    return unit


def _locations(height: int, width: int) -> Array:
    """Return rows and columns, (2, n), in places of a 24 x 24 map."""
    grid = np.mgrid[:height, :width].reshape(2, -1)
    return (grid * np.array([[24 / height], [24 / width]])).astype(np.float32)


def _lab(image: NDArray[np.uint8]) -> Array:
    """Return the colours of an RGB image in CIE Lab, (3, n)."""
    lab = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
    return np.asarray(lab.reshape(-1, 3).T, np.float32)


def _gaussian_factors(coordinates: Array) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (n, d + 2) and (d + 2, n) whose product is minus half the squared distance of any two places.

    In double precision, as what is subtracted can be much larger than what is left.
    """
    centred = coordinates.astype(np.float64)
    centred -= centred.mean(axis=1, keepdims=True)
    half = (centred**2).sum(axis=0, keepdims=True) / 2
    one = np.ones_like(half)
    return np.concatenate([centred, -half, one]).T, np.concatenate([centred, one, -half])
