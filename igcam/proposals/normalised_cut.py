"""Grouping the places of an image by the network's own features: the normalised cut."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse.linalg import ArpackError, eigsh

from igcam.core.errors import check_ranges
from igcam.refine.dense_affinity import DenseAffinityOptions, dense_affinity

Array = NDArray[np.float32]


@dataclass(frozen=True)
class NormalisedCutOptions:
    """How alike two places are, and how many ways to cut the image are tried."""

    power: float = 2.0
    """The cosine of two features, cut off at zero, is raised to this power."""
    radius: float = 8.0
    """Standard deviation of the Gaussian of their distance, in places of a 24 x 24 map; scales with others."""
    cuts: int = 3
    """Number of eigenvectors after the constant one."""

    def __post_init__(self) -> None:
        check_ranges(self, power=(0, math.inf), radius=(1e-3, math.inf), cuts=(1, 64))


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
    cuts = smoothest_cuts(cut_affinity(feature, options), options.cuts)
    return cuts.reshape(options.cuts, *feature.shape[1:])


def cut_affinity(feature: NDArray[np.floating], options: NormalisedCutOptions | None = None) -> Array:
    """Return the affinity that is cut, float32 (h * w, h * w), positive, of a feature (D, h, w)."""
    options = options or NormalisedCutOptions()
    affinity = dense_affinity(feature, None, DenseAffinityOptions(power=options.power, radius=options.radius))
    # A little of everything keeps places that are like no other from being cut off alone.
    return affinity + np.float32(1e-5)


def smoothest_cuts(affinity: Array, count: int) -> Array:
    """Return the smoothest ways to split n places, float32 (count, n), from their affinity (n, n)."""
    scale = 1 / np.sqrt(affinity.sum(axis=1))
    symmetric = scale[:, None] * affinity * scale
    vectors = _leading(symmetric, count + 1)[:, 1:] * scale[:, None]
    vectors /= np.linalg.norm(vectors, axis=0)
    return np.ascontiguousarray(vectors.T, dtype=np.float32)


def cut_cost(affinity: Array, segments: NDArray[np.bool_]) -> Array:
    """Return how much each segment is connected with the rest, float32 (P,) in 0..2; 2 for all and nothing.

    Args:
        affinity: float32 (h * w, h * w), symmetric, positive.
        segments: bool (P, h, w).

    Source:
        Shi and Malik, 2000, equation 2: the cut over the connections of either side.
    """
    members = segments.reshape(len(segments), -1).astype(np.float32)
    degree = affinity.sum(axis=1)
    volume = members @ degree
    cut = volume - ((members @ affinity) * members).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        cost = cut / volume + cut / (degree.sum() - volume)
    trivial = ~segments.reshape(len(segments), -1).any(axis=1) | segments.reshape(len(segments), -1).all(axis=1)
    return np.asarray(np.where(trivial, 2, np.clip(cost, 0, 2)), np.float32)


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


def sides(cut: NDArray[np.floating]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Split a cut of any shape by Otsu's threshold between its first and last percentile; return both sides."""
    low, high = np.percentile(cut, (1, 99))
    levels = np.clip((cut - low) / max(float(high - low), 1e-9) * 255, 0, 255).astype(np.uint8)
    threshold, _ = cv2.threshold(levels.reshape(-1, 1), 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    side = levels > threshold
    return side, ~side
