"""Spectral segments: normalised cuts of features, one by one and jointly."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse.linalg import ArpackError, eigsh

from igcam.core.validation import NonNegative, between, options
from igcam.proposals.segments import Image, Masks, SegmentOptions, Segments, components, finer, proposal_kind, tidy
from igcam.refine.affinity import DenseAffinityOptions, dense_affinity

Array = NDArray[np.float32]


@options
class NormalisedCutOptions:
    """Affinity of two locations, and the number of cuts."""

    power: NonNegative = 2.0
    """The cosine of two features, cut off at zero, is raised to this power."""
    radius: Annotated[float, between(0.001)] = 8.0
    """Standard deviation of the Gaussian of their distance, in locations of a 24 x 24 map; scales with others."""
    cuts: Annotated[int, between(1, 64)] = 3
    """Number of eigenvectors after the constant one."""


def normalised_cut(feature: NDArray[np.floating], options: NormalisedCutOptions | None = None) -> Array:
    """Return the smoothest ways to split an image in two, the best first, float32 (cuts, h, w), of a feature (D, h, w).

    They are the generalised eigenvectors of (degree - affinity) v = l degree v from the second smallest on, each of
    unit norm; the sign is arbitrary but the same for the same feature.

    Raises:
        ValueError: The feature has another shape, fewer than cuts + 2 locations, or values that are not finite.

    Source: Shi and Malik, "Normalized cuts and image segmentation", IEEE TPAMI 2000, equations 10 to 12; on features of
    a network, Wang et al. (TokenCut), CVPR 2022.
    """
    options = options or NormalisedCutOptions()
    if feature.ndim != 3 or feature.shape[1] * feature.shape[2] < options.cuts + 2:
        raise ValueError(f"feature: must be (D, h, w) of {options.cuts + 2} locations or more, got {feature.shape}")
    cuts = smoothest_cuts(cut_affinity(feature, options), options.cuts)
    return cuts.reshape(options.cuts, *feature.shape[1:])


def cut_affinity(feature: NDArray[np.floating], options: NormalisedCutOptions | None = None) -> Array:
    """Return the affinity of a feature (D, h, w) that is cut, float32 (h * w, h * w), positive."""
    options = options or NormalisedCutOptions()
    affinity = dense_affinity(feature, None, DenseAffinityOptions(power=options.power, radius=options.radius))
    # A small constant keeps isolated locations from being cut off alone.
    return affinity + np.float32(1e-5)


def smoothest_cuts(affinity: Array, count: int) -> Array:
    """Return the smoothest ways to split n locations, float32 (count, n), from their affinity (n, n)."""
    scale = 1 / np.sqrt(affinity.sum(axis=1))
    symmetric = scale[:, None] * affinity * scale
    vectors = _leading(symmetric, count + 1)[:, 1:] * scale[:, None]
    vectors /= np.linalg.norm(vectors, axis=0)
    return np.ascontiguousarray(vectors.T, dtype=np.float32)


def cut_cost(affinity: Array, segments: NDArray[np.bool_]) -> Array:
    """Return the normalised cut of segments, bool (P, h, w), float32 (P,) in 0..2; 2 for empty and full ones.

    The affinity, float32 (h * w, h * w), is symmetric and positive. Source: Shi and Malik, 2000, equation 2.
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
        # A fixed start is repeatable; a symmetric one would miss the odd vectors of a symmetric image.
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


@options
class FeatureClusterOptions:
    """Number of parts that an image is cut into."""

    cut: NormalisedCutOptions = field(default_factory=NormalisedCutOptions)
    """Affinity of two locations; each side of its first cuts is a segment too."""
    max_parts: Annotated[int, between(2, 64)] = 8
    """The image is cut into 2, 3, ... this many parts."""
    segments: SegmentOptions = field(default_factory=SegmentOptions)
    """Sizes, duplicates, number."""


@proposal_kind("feature-clusters")
def feature_clusters(
    image: Image, feature: NDArray[np.floating] | None, options: FeatureClusterOptions | None = None
) -> Segments:
    """Return the parts of all partitions and their connected pieces, scored by minus their normalised cut, in -2..0.

    A `Proposer` that needs a feature (D, h, w); segments are of its size.

    Raises:
        ValueError: There is no feature, or it has too few locations.
    """
    if feature is None:
        raise ValueError("feature: feature_clusters goes by features, got None")
    options = options or FeatureClusterOptions()
    affinity = cut_affinity(feature, options.cut)
    parts = partitions(affinity, feature.shape[1], feature.shape[2], options)
    masks = np.concatenate([parts, *(components(part.astype(np.uint8), 1) for part in parts)])
    return tidy(masks, -cut_cost(affinity, masks), options.segments)


proposal_kind("feature-clusters-finer")(finer(feature_clusters))


def partitions(affinity: Array, height: int, width: int, options: FeatureClusterOptions | None = None) -> Masks:
    """Return the sides of the first cuts, and the parts of the image cut into 2, 3, ... parts.

    For k parts, k-means clusters the directions of the locations in the k smoothest solutions of the normalised cut,
    the constant one among them. Stable segments are found again and repeated. The affinity, float32 (h * w, h * w), is
    symmetric and positive; the segments are bool (P, h, w), (h, w) = (height, width), none empty.

    Source: Ng, Jordan and Weiss, "On spectral clustering", NIPS 2001, with eigenvectors as in Shi and Malik, 2000.
    """
    options = options or FeatureClusterOptions()
    maximum = min(options.max_parts, height * width - 2)
    cuts = smoothest_cuts(affinity, max(maximum - 1, options.cut.cuts))
    flat = np.stack([side for cut in cuts[: options.cut.cuts] for side in sides(cut)])
    found = [side.reshape(height, width) for side in flat if side.any()]
    constant = np.full((1, height * width), (height * width) ** -0.5, np.float32)
    for count in range(2, maximum + 1):
        directions = np.concatenate([constant, cuts[: count - 1]]).T
        directions = directions / np.linalg.norm(directions, axis=1, keepdims=True)
        labels = k_means(directions, count).reshape(height, width)
        found += [labels == part for part in np.unique(labels)]
    return np.stack(found)


def k_means(points: Array, count: int, rounds: int = 20) -> NDArray[np.intp]:
    """Cluster points, float32 (n, D), deterministically: every centre starts at the point farthest from those before.

    Return (n,) of 0..count-1; a cluster may be empty where points are equal.
    """
    distance = ((points - points.mean(axis=0)) ** 2).sum(axis=1)
    centres = points[[int(distance.argmax())]]
    nearest = ((points - centres[0]) ** 2).sum(axis=1)
    while len(centres) < count:
        centres = np.concatenate([centres, points[[int(nearest.argmax())]]])
        nearest = np.minimum(nearest, ((points - centres[-1]) ** 2).sum(axis=1))
    labels = np.full(len(points), -1, np.intp)
    for _ in range(rounds):
        before = labels
        labels = (((points[:, None] - centres) ** 2).sum(axis=2)).argmin(axis=1)
        if (labels == before).all():
            break
        for index in np.unique(labels):
            centres[index] = points[labels == index].mean(axis=0)
    return labels
