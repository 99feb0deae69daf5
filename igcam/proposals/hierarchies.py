"""Grouping: regions of even colour, and hierarchies of neighbouring regions that merge in pairs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from typing import Annotated

import cv2
import numpy as np
from numpy.typing import NDArray

from igcam.core.validation import NonNegative, Positives, between, options
from igcam.proposals.segments import Image, Masks, SegmentOptions, Segments, finer, proposal_kind, smaller, tidy
from igcam.refine.affinity import DenseAffinityOptions, dense_affinity

Array = NDArray[np.float32]


@options
class ColourSegmentOptions:
    """Scales of the segmentation, and which segments are kept."""

    scales: Positives = (50.0, 100.0, 200.0, 400.0, 800.0)
    """Larger scales give larger segments."""
    smoothing: NonNegative = 0.8
    """Standard deviation of the Gaussian before, in pixels."""
    side: Annotated[int, between(8, 4096)] = 160
    """The photo is shrunk until its longer side has at most this many pixels."""
    segments: SegmentOptions = field(default_factory=SegmentOptions)
    """Sizes, duplicates, number."""


@proposal_kind("colour-segments")
def colour_segments(
    image: Image, feature: NDArray[np.floating] | None = None, options: ColourSegmentOptions | None = None
) -> Segments:
    """Cut a photo, uint8 (H, W, 3), into segments of even colour, coarse scales first; a `Proposer`.

    Source: Felzenszwalb and Huttenlocher, "Efficient graph-based image segmentation", IJCV 2004.
    """
    options = options or ColourSegmentOptions()
    small = smaller(image, options.side)
    stacks = [one_hot(graph_labels(small, scale, options.smoothing)) for scale in sorted(options.scales, reverse=True)]
    return tidy(np.concatenate(stacks), None, options.segments)


def graph_labels(image: Image, scale: float, smoothing: float = 0.8, minimum: int = 20) -> NDArray[np.int32]:
    """Return region numbers 0..R-1, int32 (H, W), of a photo, uint8 (H, W, 3), cut in CIE Lab.

    A larger scale prefers larger regions; `smoothing` is the standard deviation of the Gaussian before, in pixels, and
    `minimum` the pixels of the smallest region.
    """
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2Lab)
    cutter = cv2.ximgproc.segmentation.createGraphSegmentation(smoothing, scale, minimum)
    labels = cutter.processImage(lab)
    return np.unique(labels, return_inverse=True)[1].reshape(labels.shape).astype(np.int32)


def one_hot(labels: NDArray[np.integer]) -> Masks:
    """Return bool (R, rows, columns), each region's pixels, from numbers 0..R-1 of (rows, columns)."""
    return labels == np.arange(int(labels.max()) + 1)[:, None, None]


def merge_regions(likeness: Array, merge: Callable[[int, int], Array]) -> list[tuple[int, int, float]]:
    """Merge the most similar pair of neighbours again and again, until no two regions may be merged.

    Args:
        likeness: float32 (R, R), symmetric; -inf for pairs that are not neighbours and on the diagonal.
        merge: Called with (first, second) when these merge into first. Returns the likeness of the new region to all R,
            which only counts where it is a neighbour.

    Returns:
        (first, second, likeness) of every merge, in order; at most R - 1.
    """
    likeness = likeness.copy()
    merges = []
    while likeness.size:
        first, second = divmod(int(likeness.argmax()), len(likeness))
        value = float(likeness[first, second])
        if value == -np.inf:
            break
        merges.append((first, second, value))
        neighbours = np.maximum(likeness[first], likeness[second]) > -np.inf
        neighbours[[first, second]] = False
        likeness[second] = likeness[:, second] = -np.inf
        row = np.where(neighbours, merge(first, second), np.float32(-np.inf))
        likeness[first] = likeness[:, first] = row
    return merges


def nodes(labels: NDArray[np.integer], merges: list[tuple[int, int, float]]) -> Masks:
    """Return the region of each merge, bool (M, rows, columns), from region numbers 0..R-1 of (rows, columns)."""
    members = np.eye(int(labels.max()) + 1, dtype=bool)
    made = np.zeros((len(merges), *labels.shape), bool)
    for index, (first, second, _) in enumerate(merges):
        members[first] |= members[second]
        made[index] = members[first][labels]
    return made


def neighbours(labels: NDArray[np.integer]) -> Masks:
    """Return which regions 0..R-1 of (rows, columns) touch by a side, bool (R, R), symmetric, false on the diagonal."""
    count = int(labels.max()) + 1
    touching = np.zeros((count, count), bool)
    touching[labels[1:], labels[:-1]] = True
    touching[labels[:, 1:], labels[:, :-1]] = True
    touching |= touching.T
    np.fill_diagonal(touching, False)
    return touching


@options
class FeatureHierarchyOptions:
    """Affinity of two locations, and which groups are kept."""

    affinity: DenseAffinityOptions = field(default_factory=DenseAffinityOptions)
    """Affinity of two locations; that of two groups is its mean over all pairs."""
    segments: SegmentOptions = field(default_factory=SegmentOptions)
    """Sizes, duplicates, number."""


@proposal_kind("feature-hierarchy")
def feature_hierarchy(
    image: Image, feature: NDArray[np.floating] | None, options: FeatureHierarchyOptions | None = None
) -> Segments:
    """Return the nodes of one tree of merged locations, the last merged first.

    A `Proposer` that needs a feature (D, h, w); segments are of its size.

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


proposal_kind("feature-hierarchy-finer")(finer(feature_hierarchy))


BINS = 25
"""Bins of the histogram of a colour channel."""
ORIENTATIONS, STRENGTHS = 8, 10
"""Bins of the histogram of a texture channel."""


@options
class SelectiveSearchOptions:
    """Initial regions, and which segments are kept."""

    scales: Positives = (50.0, 150.0)
    """Of the initial graph-based segments; one tree per scale."""
    side: Annotated[int, between(8, 4096)] = 160
    """The photo is shrunk until its longer side has at most this many pixels."""
    segments: SegmentOptions = field(default_factory=SegmentOptions)
    """Sizes, duplicates, number."""


@proposal_kind("selective-search")
def selective_search(
    image: Image, feature: NDArray[np.floating] | None = None, options: SelectiveSearchOptions | None = None
) -> Segments:
    """Return the nodes of trees of merged regions of a photo, uint8 (H, W, 3), large ones first; a `Proposer`.

    Source: Uijlings, van de Sande, Gevers and Smeulders, "Selective search for object recognition", IJCV 2013, section
    3.2, with the sum of all four similarities; here the masks themselves are proposals, and texture is counted by the
    direction and strength of the gradient.
    """
    options = options or SelectiveSearchOptions()
    small = smaller(image, options.side)
    found = []
    for scale in options.scales:
        labels = graph_labels(small, scale)
        regions = _Regions(small, labels)
        merges = merge_regions(np.where(neighbours(labels), regions.likeness(), -np.inf), regions.merge)
        found += [nodes(labels, merges), one_hot(labels)]
    masks = np.concatenate(found)
    order = np.argsort(-masks.sum(axis=(1, 2)), kind="stable")
    return tidy(masks[order], None, options.segments)


class _Regions:
    """Histograms, areas and boxes of regions, and their similarities."""

    def __init__(self, image: Image, labels: NDArray[np.int32]) -> None:
        count = int(labels.max()) + 1
        self.pixels = labels.size
        self.area = np.bincount(labels.ravel(), minlength=count).astype(np.float32)
        lab = cv2.cvtColor(image, cv2.COLOR_RGB2Lab).astype(np.int64)
        self.colour = _histograms(labels, lab * BINS // 256, BINS) / (3 * self.area[:, None])
        self.texture = _histograms(labels, _texture_bins(image), ORIENTATIONS * STRENGTHS) / (3 * self.area[:, None])
        self.low = np.full((count, 2), max(labels.shape))
        self.high = np.zeros((count, 2), int)
        for axis, position in enumerate(np.indices(labels.shape)):
            np.minimum.at(self.low[:, axis], labels.ravel(), position.ravel())
            np.maximum.at(self.high[:, axis], labels.ravel(), position.ravel() + 1)

    def to_all(self, index: int) -> Array:
        """Return the similarity of one region to all, float32 (R,)."""
        colour = np.minimum(self.colour[index], self.colour).sum(axis=1)
        texture = np.minimum(self.texture[index], self.texture).sum(axis=1)
        area = self.area[index] + self.area
        sides = np.maximum(self.high[index], self.high) - np.minimum(self.low[index], self.low)
        box = sides.prod(axis=1)
        return np.asarray(colour + texture + (1 - area / self.pixels) + (1 - (box - area) / self.pixels), np.float32)

    def likeness(self) -> Array:
        return np.stack([self.to_all(index) for index in range(len(self.area))])

    def merge(self, first: int, second: int) -> Array:
        one, other = self.area[[first, second]]
        for histogram in (self.colour, self.texture):
            histogram[first] = (one * histogram[first] + other * histogram[second]) / (one + other)
        self.area[first] = one + other
        self.low[first] = np.minimum(self.low[first], self.low[second])
        self.high[first] = np.maximum(self.high[first], self.high[second])
        return self.to_all(first)


def _histograms(labels: NDArray[np.int32], bins: NDArray[np.int64], count: int) -> Array:
    """Count bins (H, W, 3) by region and channel, float32 (R, 3 * count)."""
    regions = int(labels.max()) + 1
    index = (labels[..., None].astype(np.int64) * 3 + np.arange(3)) * count + bins
    return np.bincount(index.ravel(), minlength=regions * 3 * count).reshape(regions, -1).astype(np.float32)


def _texture_bins(image: Image) -> NDArray[np.int64]:
    smooth = cv2.GaussianBlur(image.astype(np.float32) / 255, (0, 0), 1.0)
    across, down = (cv2.Scharr(smooth, cv2.CV_32F, *order) for order in ((1, 0), (0, 1)))
    angle = np.arctan2(down, across) / (2 * np.pi) % 1
    # Gradients of photos are rarely above a tenth of the maximum: bins grow with their square root.
    strength = np.sqrt(np.clip(np.hypot(across, down) / 16, 0, 1))
    oriented = (angle * ORIENTATIONS).astype(np.int64).clip(0, ORIENTATIONS - 1)
    return oriented * STRENGTHS + (strength * STRENGTHS).astype(np.int64).clip(0, STRENGTHS - 1)
