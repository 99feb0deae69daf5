"""Grouping by the network's features, from the top down: several normalised cuts taken jointly."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from igcam.core.errors import check_ranges
from igcam.proposals.normalised_cut import NormalisedCutOptions, cut_affinity, cut_cost, sides, smoothest_cuts
from igcam.proposals.segments import Image, Masks, SegmentOptions, Segments, components, tidy

Array = NDArray[np.float32]


@dataclass(frozen=True)
class FeatureClusterOptions:
    """Into how many parts an image is cut."""

    cut: NormalisedCutOptions = field(default_factory=NormalisedCutOptions)
    """Likeness of two places; each side of its first cuts alone is a segment too."""
    max_parts: int = 8
    """The image is cut into 2, 3, ... this many parts."""
    segments: SegmentOptions = field(default_factory=SegmentOptions)
    """Sizes, duplicates, number."""

    def __post_init__(self) -> None:
        check_ranges(self, max_parts=(2, 64))


def feature_clusters(
    image: Image, feature: NDArray[np.floating] | None, options: FeatureClusterOptions | None = None
) -> Segments:
    """Return the parts of all partitions and their connected pieces, scored by how well they are cut off.

    A `Proposer`. The score is minus the normalised cut of a segment against the rest, in -2..0.

    Args:
        image: Not used.
        feature: Float (D, h, w), which must be there; segments are of its size.
        options: Defaults to `FeatureClusterOptions()`.

    Raises:
        ValueError: There is no feature, or it has too few places.
    """
    if feature is None:
        raise ValueError("feature: feature_clusters goes by features, got None")
    options = options or FeatureClusterOptions()
    affinity = cut_affinity(feature, options.cut)
    parts = partitions(affinity, feature.shape[1], feature.shape[2], options)
    masks = np.concatenate([parts, *(components(part.astype(np.uint8), 1) for part in parts)])
    return tidy(masks, -cut_cost(affinity, masks), options.segments)


def partitions(affinity: Array, height: int, width: int, options: FeatureClusterOptions | None = None) -> Masks:
    """Return the sides of the first cuts, and the parts of the image cut into 2, 3, ... parts.

    For k parts, a place is the direction of its values in the k smoothest solutions of the normalised cut, the
    constant one among them, and k-means groups these directions. A segment that is found again stays in the
    answer: how often tells how stable it is.

    Args:
        affinity: float32 (h * w, h * w), symmetric, positive.
        height: Rows h.
        width: Columns w.
        options: Defaults to `FeatureClusterOptions()`.

    Returns:
        bool (P, h, w), none of them empty.

    Source:
        Ng, Jordan and Weiss, "On spectral clustering", NIPS 2001, with eigenvectors as in Shi and Malik, 2000.
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
    """Cluster points without chance: every centre begins at the point that is farthest from those before.

    Args:
        points: float32 (n, D).
        count: Number of clusters, at most n.
        rounds: Most rounds of Lloyd's algorithm.

    Returns:
        (n,) of 0..count-1; a cluster may be empty where points are equal.
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
