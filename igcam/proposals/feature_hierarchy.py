"""Grouping by the network's features, from the bottom up: neighbouring places merge, every node is a proposal."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from igcam.proposals.merging import merge_regions, neighbours, nodes
from igcam.proposals.segments import Image, SegmentOptions, Segments, tidy
from igcam.refine.dense_affinity import DenseAffinityOptions, dense_affinity

Array = NDArray[np.float32]


@dataclass(frozen=True)
class FeatureHierarchyOptions:
    """How alike two places are, and which groups are kept."""

    affinity: DenseAffinityOptions = field(default_factory=DenseAffinityOptions)
    """Likeness of two places; that of two groups is its mean over all pairs."""
    segments: SegmentOptions = field(default_factory=SegmentOptions)
    """Sizes, duplicates, number."""


def feature_hierarchy(
    image: Image, feature: NDArray[np.floating] | None, options: FeatureHierarchyOptions | None = None
) -> Segments:
    """Return the nodes of one tree of merged places, the last merged first; a `Proposer`.

    Args:
        image: uint8 (H, W, 3), RGB.
        feature: Float (D, h, w), which must be there; segments are of its size.
        options: Defaults to `FeatureHierarchyOptions()`.

    Raises:
        ValueError: There is no feature.
    """
    if feature is None:
        raise ValueError("feature: feature_hierarchy goes by features, got None")
    options = options or FeatureHierarchyOptions()
    height, width = feature.shape[1:]
    small = np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    total = dense_affinity(feature, small, options.affinity)
    labels = np.arange(height * width).reshape(height, width)
    size = np.ones(height * width, np.float32)
    likeness = np.where(neighbours(labels), total, np.float32(-np.inf))

    def merge(first: int, second: int) -> Array:
        total[first] += total[second]
        total[:, first] += total[:, second]
        size[first] += size[second]
        return np.asarray(total[first] / (size[first] * size), np.float32)

    masks = nodes(labels, merge_regions(likeness, merge))
    return tidy(masks[::-1], None, options.segments)
