"""Grouping the places of an image by the network's own features: the normalised cut."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.linalg import ArpackError, eigsh

from igcam.errors import check_ranges
from igcam.refine.dense_affinity import DenseAffinityOptions, dense_affinity

Array = NDArray[np.float32]


@dataclass(frozen=True)
class NormalisedCutOptions:
    """How alike two places are, and how many ways to cut the image are tried."""

    power: float = 2.0
    """The cosine of two features, cut off at zero, is raised to this power."""
    reach: float = 8.0
    """Standard deviation of the Gaussian of their distance, in places of a 24 x 24 map; scales with others."""
    cuts: int = 3
    """Number of eigenvectors after the constant one."""

    def __post_init__(self) -> None:
        check_ranges(self, power=(0, math.inf), reach=(1e-3, math.inf), cuts=(1, 64))


def normalised_cut(feature: NDArray[np.floating], options: NormalisedCutOptions | None = None) -> Array:
    """Return the smoothest ways to split an image in two, the best first.

    Args:
        feature: Float (D, h, w) with h * w at least cuts + 2.
        options: Defaults to `NormalisedCutOptions()`.

    Returns:
        float32 (cuts, h, w): generalised eigenvectors of (degree - affinity) v = l degree v from the second
        smallest on, each of unit norm; the sign is arbitrary but the same for the same feature.

    Raises:
        ValueError: `feature` has another shape, too few places, or values that are not finite.

    Source:
        Shi and Malik, "Normalized cuts and image segmentation", IEEE TPAMI 2000, equations 10 to 12. On
        features of a network: Wang et al. (TokenCut), CVPR 2022.
    """
    options = options or NormalisedCutOptions()
    if feature.ndim != 3 or feature.shape[1] * feature.shape[2] < options.cuts + 2:
        raise ValueError(f"feature: must be (D, h, w) of {options.cuts + 2} places or more, got {feature.shape}")
    height, width = feature.shape[1:]
    affinity = dense_affinity(feature, None, DenseAffinityOptions(power=options.power, reach=options.reach))
    # A little of everything keeps places that are like no other from being cut off alone.
    affinity = affinity + np.float32(1e-5)
    scale = 1 / np.sqrt(affinity.sum(axis=1))
    symmetric = scale[:, None] * affinity * scale
    vectors = _leading(symmetric, options.cuts + 1)[:, 1:] * scale[:, None]
    vectors /= np.linalg.norm(vectors, axis=0)
    return np.ascontiguousarray(vectors.T.reshape(options.cuts, height, width), dtype=np.float32)


def _leading(symmetric: Array, count: int) -> Array:
    """Return the eigenvectors of the largest eigenvalues, the largest first, with a fixed sign."""
    try:
        # A fixed start makes the answer repeatable; from an even one, an image that is its own mirror image would
        # never get the vectors that are odd.
        start = np.random.default_rng(0).standard_normal(len(symmetric), np.float32)
        values, vectors = eigsh(symmetric, k=count, which="LA", v0=start, tol=1e-4)
    except ArpackError:
        values, vectors = np.linalg.eigh(symmetric)
    vectors = vectors[:, np.argsort(values)[::-1][:count]]
    largest = vectors[np.abs(vectors).argmax(axis=0), np.arange(count)]
    return np.asarray(vectors * np.where(largest < 0, -1, 1), dtype=np.float32)
