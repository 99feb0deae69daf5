"""Object scores: segments weighted by the object map inside them and by their normalised cut."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import cv2
import numpy as np
from numpy.typing import NDArray

from igcam.core.validation import Fraction, NonNegative, between, options
from igcam.proposals.segments import Image, Masks, enlarged
from igcam.proposals.spectral import FeatureClusterOptions, NormalisedCutOptions, cut_affinity, cut_cost, partitions
from igcam.refine.affinity import DenseAffinityOptions, dense_affinity
from igcam.refine.propagation import propagate
from igcam.refine.stack import resized

Array = NDArray[np.float32]


@options
class ObjectScoreOptions:
    """Parts of the object map and weights of segments; chosen on half of voc-animals train."""

    activation: Fraction = 0.4
    """Weight of the activation in the object map."""
    surroundings: Fraction = 0.1
    """Weight of the activation propagated along the affinity; the rest is distance from the image border."""
    level: Fraction = 0.36
    """Object map value at which a location neither raises nor lowers the score of a segment."""
    cut_cost: NonNegative = 0.175
    """Weight of a segment's normalised cut, in units of the object map summed over the whole image."""
    sharpness: NonNegative = 80.0
    """Segments are weighted by exp(sharpness * score)."""
    min_area: Fraction = 0.02
    """Smallest segment, as a share of the image."""
    max_area: Fraction = 0.9
    """Largest segment, as a share of the image."""
    segment_weight: Fraction = 0.85
    """Weight of the segments in the object score; the rest is distance from the image border."""
    border_width: Annotated[float, between(0.001)] = 0.6
    """Boundary connectivity at which that distance has fallen to 0.61."""
    affinity: DenseAffinityOptions = field(default_factory=lambda: DenseAffinityOptions(radius=16))
    """Affinity for the propagated activation and the distance from the border."""
    clusters: FeatureClusterOptions = field(
        default_factory=lambda: FeatureClusterOptions(cut=NormalisedCutOptions(radius=100))
    )
    """Clustering of the segments; distance hardly counts in its cuts, so that large objects stay whole."""


@dataclass(frozen=True)
class Collected:
    """The segments of an image, and its object map."""

    segments: Masks
    """bool (P, h, w); none if `segment_weight` is 0."""
    costs: Array
    """float32 (P,): the normalised cut of each."""
    object_map: Array
    """float32 (h, w) in 0..1: the image prior of an object; `distance` if there are no segments."""
    distance: Array
    """float32 (h, w) in 0..1: distance from the image border, see `border_distance`."""


def collect(
    image: Image,
    feature: NDArray[np.floating],
    activation: NDArray[np.floating],
    options: ObjectScoreOptions | None = None,
    further: Masks | None = None,
) -> Collected:
    """Return the input of `object_score` for one image.

    Args:
        image: uint8 (H, W, 3): the photo.
        feature: Float (D, h, w), which is clustered.
        activation: Float in 0..1: the strongest activation of any tagged class, resized bilinearly to (h, w).
        options: Defaults to `ObjectScoreOptions()`.
        further: bool (P, rows, columns), of any size: other proposals that compete with the clusters.

    Raises:
        ValueError: There are too few locations.
    """
    options = options or ObjectScoreOptions()
    height, width = feature.shape[1:]
    activation = resized(activation[None], height, width)[0]
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
    weight: float = 1.0,
) -> Array:
    """Return the object score of each location, float32 (h, w) in 0..1.

    The score of a segment is the sum of the object map above `level` inside it, over the number of locations, minus the
    cost of its cut. The contrast of inside and outside would prefer the core of an activation; the sum grows with every
    location above the level, so that whole objects win.

    Args:
        collected: Segments and object map of the image.
        options: Defaults to `ObjectScoreOptions()`.
        foreground: Float (h, w) in 0..1: foreground probability by a model of all images.
        weight: Its weight in the object map that the segments are scored by.
    """
    options = options or ObjectScoreOptions()
    object_map, distance = collected.object_map, collected.distance
    if options.segment_weight == 0:
        return np.asarray(distance, np.float32)
    if foreground is not None:
        object_map = weight * foreground + (1 - weight) * object_map
    segments = weighed_mean(collected.segments, object_map, collected.costs, options)
    return np.asarray(options.segment_weight * segments + (1 - options.segment_weight) * distance, np.float32)


def weighed_mean(
    segments: Masks, object_map: NDArray[np.floating], costs: Array, options: ObjectScoreOptions | None = None
) -> Array:
    """Return the mean of segments, bool (P, h, w), each weighted by exp(sharpness * score); float32 (h, w) in 0..1.

    Repeated segments count; the mean is zero if no segment has an allowed area. The object map is float (h, w) in 0..1,
    costs are float32 (P,) as of `cut_cost`.
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


def border_distance(affinity: Array, height: int, width: int, deviation: float = 0.6) -> Array:
    """Return a boundary prior, float32 (h, w) in 0..1: `exp(-connectivity^2 / (2 deviation^2))`.

    The region of a location is soft: every other location belongs to it by its affinity, float32 (h * w, h * w). Its
    boundary connectivity is the part of the region on the image border, over the square root of its area: large for
    background, small for objects, even for one that the border cuts (a square with one side on the border has one). No
    activation map is needed.

    Source: Boundary connectivity: Zhu, Liang, Wei and Sun, "Saliency optimization from robust background detection",
    CVPR 2014; here on locations instead of superpixels, without geodesic paths.
    """
    border = np.ones((height, width), np.float32)
    border[1:-1, 1:-1] = 0
    connectivity = (affinity @ border.ravel()) / np.sqrt(affinity.sum(axis=1))
    return np.asarray(np.exp(-(connectivity**2) / (2 * deviation**2)).reshape(height, width), np.float32)
