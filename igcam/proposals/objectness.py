"""Coverage by many segments: each is weighed by the evidence for an object in it, and by how well it is cut off."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from igcam.core.errors import check_ranges
from igcam.proposals.boundary_prior import border_distance, propagate
from igcam.proposals.segments import Image, Masks, enlarged
from igcam.proposals.spectral import FeatureClusterOptions, NormalisedCutOptions, cut_affinity, cut_cost, partitions
from igcam.refine.affinity import DenseAffinityOptions, dense_affinity

Array = NDArray[np.float32]


@dataclass(frozen=True)
class ObjectScoreOptions:
    """What counts as evidence, and how sharply better segments are preferred; chosen on half of voc-animals train."""

    activation: float = 0.4
    """Share of the activation in the evidence."""
    surroundings: float = 0.1
    """Share of the activation averaged over alike places; the rest is distance from the image's border."""
    level: float = 0.36
    """CueConstraint at which a place is worth neither more nor less inside a segment than outside."""
    cut_cost: float = 0.175
    """Cost of a segment's normalised cut, in units of evidence summed over the whole image."""
    sharpness: float = 80.0
    """Segments are weighed by exp(sharpness * score)."""
    min_area: float = 0.02
    """Share of the image below which a segment is no object."""
    max_area: float = 0.9
    """Share of the image above which it is none."""
    segment_weight: float = 0.85
    """Share of the segments in the coverage; the rest is distance from the image's border."""
    border_width: float = 0.6
    """Connection to the border at which that distance has fallen to 0.61."""
    affinity: DenseAffinityOptions = field(default_factory=lambda: DenseAffinityOptions(radius=16))
    """Which places are alike, for surroundings and distance from the border."""
    clusters: FeatureClusterOptions = field(
        default_factory=lambda: FeatureClusterOptions(cut=NormalisedCutOptions(radius=100))
    )
    """The segments, from cuts for which distance hardly counts: large objects stay whole."""

    def __post_init__(self) -> None:
        check_ranges(self, activation=(0, 1), surroundings=(0, 1), level=(0, 1), cut_cost=(0, math.inf))
        check_ranges(self, sharpness=(0, math.inf), min_area=(0, 1), max_area=(0, 1), segment_weight=(0, 1))
        check_ranges(self, border_width=(1e-3, math.inf))


@dataclass(frozen=True)
class Collected:
    """The segments of an image, and what speaks for objects in it."""

    segments: Masks
    """bool (P, h, w); none where `segment_weight` is 0."""
    costs: Array
    """float32 (P,): the normalised cut of each."""
    object_map: Array
    """float32 (h, w) in 0..1: for an object, by this image alone; the distance where there are no segments to score."""
    distance: Array
    """float32 (h, w) in 0..1: from the border."""


def object_score_of_map(
    image: Image,
    feature: NDArray[np.floating],
    activation: NDArray[np.floating],
    options: ObjectScoreOptions | None = None,
    further: Masks | None = None,
) -> Array:
    """Return how far each place is covered by objects.

    The segments are all parts of the image cut into 2, 3, ... 8 parts. The score of a segment is the sum of the
    evidence above `level` in it, over the places of the whole image, minus a cost for how much of it is cut. Unlike
    the contrast of inside and outside, which prefers the core of an activation, the sum grows with every place that
    is worth having, so that whole objects win.

    Args:
        image: uint8 (H, W, 3): the photo.
        feature: Float (D, h, w): what is grouped.
        activation: Float (h, w) in 0..1: the strongest activation of any tagged class.
        options: Defaults to `ObjectScoreOptions()`.
        further: bool (P, rows, columns): other proposals for the photo, of any size, that compete with these.

    Returns:
        float32 (h, w) in 0..1.

    Raises:
        ValueError: Shapes differ, or there are too few places.
    """
    return object_score(collect(image, feature, activation, options, further), options)


def collect(
    image: Image,
    feature: NDArray[np.floating],
    activation: NDArray[np.floating],
    options: ObjectScoreOptions | None = None,
    further: Masks | None = None,
) -> Collected:
    """Return what `covered` needs of one image; arguments as for `object_score_of_map`."""
    options = options or ObjectScoreOptions()
    height, width = feature.shape[1:]
    if activation.shape != (height, width):
        raise ValueError(f"activation: must be ({height}, {width}) as the feature, got {activation.shape}")
    small = np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    alike = dense_affinity(feature, small, options.affinity)
    distance = border_distance(alike, height, width, options.border_width)
    if options.segment_weight == 0:
        return Collected(np.zeros((0, height, width), bool), np.zeros(0, np.float32), distance, distance)
    around = propagate(alike, activation[None])[0]
    around = around / max(float(around.max()), 1e-6)
    rest = 1 - options.activation - options.surroundings
    object_map = options.activation * activation + options.surroundings * around + rest * distance
    affinity = cut_affinity(feature, options.clusters.cut)
    segments = partitions(affinity, height, width, options.clusters)
    if further is not None and len(further):
        segments = np.concatenate([segments, enlarged(further, height, width)])
    return Collected(segments, cut_cost(affinity, segments), np.asarray(object_map, np.float32), distance)


def object_score(
    collected: Collected,
    options: ObjectScoreOptions | None = None,
    foreground: NDArray[np.floating] | None = None,
    share: float = 1.0,
) -> Array:
    """Return the coverage, float32 (h, w) in 0..1.

    Args:
        gathered: What `gather` gave.
        options: Defaults to `ObjectScoreOptions()`.
        foreground: Float (h, w) in 0..1: what a model that has seen all images says of an object at each place.
        share: Its share in the evidence that segments are scored by.
    """
    options = options or ObjectScoreOptions()
    object_map, distance = collected.object_map, collected.distance
    if options.segment_weight == 0:
        return np.asarray(distance, np.float32)
    if foreground is not None:
        object_map = share * foreground + (1 - share) * object_map
    segments = weighed_mean(collected.segments, object_map, collected.costs, options)
    return np.asarray(options.segment_weight * segments + (1 - options.segment_weight) * distance, np.float32)


def weighed_mean(
    segments: Masks, object_map: NDArray[np.floating], costs: Array, options: ObjectScoreOptions | None = None
) -> Array:
    """Return the mean of segments (P, h, w), each weighed by exp(sharpness * score), float32 (h, w) in 0..1.

    Args:
        segments: bool (P, h, w); repeated ones count as often as they are there.
        evidence: Float (h, w) in 0..1.
        costs: float32 (P,), such as `cut_cost` returns.
        options: Defaults to `ObjectScoreOptions()`.

    Returns:
        Zero everywhere where no segment has a fit size.
    """
    options = options or ObjectScoreOptions()
    flat = segments.reshape(len(segments), -1).astype(np.float32)
    area = flat.mean(axis=1)
    fit = (area >= options.min_area) & (area <= options.max_area)
    if not fit.any():
        return np.zeros(object_map.shape, np.float32)
    excess = flat[fit] @ (object_map.ravel() - options.level) / flat.shape[1]
    score = excess - options.cut_cost * costs[fit]
    weights = np.exp(options.sharpness * (score - score.max()))
    return np.asarray(((weights / weights.sum()) @ flat[fit]).reshape(object_map.shape), np.float32)
