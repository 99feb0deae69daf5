"""Out-of-fold scores of the classes of an image, from heads that have not seen its tags."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import ArrayLike, NDArray

from igcam.core.validation import Count, Positives, between, options
from igcam.influence.design import checked_features, checked_tags
from igcam.models.linear_head import (
    best_penalty,
    cross_fitted_heads,
    cross_fitted_logits,
    feature_scale,
    power_normalised,
    rotated,
)

Array = NDArray[np.float64]
TOP_FRACTION = 0.1
"""Fraction of the locations that top pooling averages."""


@options
class AuditOptions:
    """How classes are scored against the tags."""

    penalties: Positives = (0.1, 0.05, 0.02, 0.01, 0.003)
    """L2 penalties to choose from by the out-of-fold tag loss; features have a mean square norm of one hundred."""
    folds: Annotated[int, between(2)] = 5
    """Each image is scored by heads fitted without its fold."""
    repeats: Count = 4
    """Random splits into folds, whose logits are averaged."""
    neighbours: Count = 10
    """Number of most similar images whose tags are averaged."""
    seed: int = 0
    """Seed of the splits."""


@dataclass(frozen=True)
class TagScores:
    """Scores of every class in every image, none of which has seen the image's own tags."""

    logits: Array
    """float64 (n, C): out-of-fold logits of the image, mean over the splits."""
    neighbours: Array
    """float64 (n, C): log odds of the class among the most similar images."""
    locations: Array | None
    """float64 (n, C): out-of-fold logits of the locations, mean over the top tenth of them."""
    penalty: float
    """L2 penalty of the heads."""

    def kinds(self) -> list[Array]:
        """Return the scores of each kind, one array (n, C) each."""
        return [self.logits, self.neighbours, *([] if self.locations is None else [self.locations])]

    def typical(self, tags: ArrayLike) -> Array:
        """Return the median score of each class, float64 (C,), at the top locations of the images tagged with it.

        The logits of the images replace those of locations that were not scored.
        """
        scores = self.logits if self.locations is None else self.locations
        pairs = zip(scores.T, np.asarray(tags).T, strict=True)
        return np.array([np.median(column[tag > 0.5]) for column, tag in pairs])


def score_tags(
    average: ArrayLike,
    tags: ArrayLike,
    feature_map: Callable[[int], ArrayLike] | None = None,
    options: AuditOptions | None = None,
) -> TagScores:
    """Score every class in every image without the image's own tags.

    The head of the image takes average-pooled features beside features averaged over their top tenth of locations, as
    small objects hardly change an average. Both are power normalised (Perronnin et al., ECCV 2010).

    Args:
        average: (n, D), average-pooled features.
        tags: (n, C), 0 or 1, or a tag posterior in [0, 1].
        feature_map: Returns the features (D, h, w) of one image before pooling; None scores no locations.
        options: Defaults to `AuditOptions()`.

    Raises:
        ValueError: Wrong shapes or values of arrays.
        IgcamError: There are fewer images than folds.
    """
    options = options or AuditOptions()
    average = np.asarray(average, np.float64)
    tags = checked_tags("tags", tags, len(average))
    roots = power_normalised(average).features
    locations, joined = None, roots
    if feature_map is not None:
        maps = (np.asarray(feature_map(index), np.float32) for index in range(len(average)))
        top, locations = _score_locations(maps, average, tags, options)
        joined = np.hstack([roots, power_normalised(top).features]) / math.sqrt(2)
    joined = rotated(joined)
    penalty = best_penalty(joined, tags, options.penalties, options.folds, options.seed)
    seeds = range(options.seed, options.seed + options.repeats)
    logits = np.mean([cross_fitted_logits(joined, tags, penalty, options.folds, seed) for seed in seeds], axis=0)
    return TagScores(logits, neighbour_scores(roots, tags, options.neighbours), locations, penalty)


def neighbour_scores(features: ArrayLike, tags: ArrayLike, neighbours: int = 10, chunk: int = 1024) -> Array:
    """Return the log odds, float64 (n, C), of each class among the most similar other images.

    A neighbour has weight exp(10 (cosine - 1)); the class frequency over all images acts as one more neighbour.

    Args:
        features: (n, D), n at least 2, centred.
        tags: (n, C), 0 or 1, or a tag posterior in [0, 1].
        neighbours: Number of neighbours, at least 1.
        chunk: Images processed at a time.

    Raises:
        ValueError: Wrong shapes or values of arrays, or too few images or neighbours.
    """
    features = checked_features("features", features)
    count = len(features)
    tags = checked_tags("tags", tags, count)
    if count < 2 or neighbours < 1:
        raise ValueError(f"features, neighbours: needs 2 images and 1 neighbour, got {count} and {neighbours}")
    neighbours = min(neighbours, count - 1)
    unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    frequency = np.clip(tags.mean(axis=0), 0.5 / count, 1 - 0.5 / count)
    odds = np.empty(tags.shape)
    for start in range(0, count, chunk):
        own = np.arange(start, min(start + chunk, count))
        cosine = unit[own] @ unit.T
        cosine[np.arange(len(own)), own] = -np.inf
        nearest = np.argpartition(-cosine, neighbours - 1, axis=1)[:, :neighbours]
        weight = np.exp(10 * (np.take_along_axis(cosine, nearest, axis=1) - 1))
        weight /= weight.sum(axis=1, keepdims=True)
        agreed = np.einsum("nk,nkc->nc", weight, tags[nearest])
        mixed = (neighbours * agreed + frequency) / (neighbours + 1)
        odds[own] = np.log(mixed / (1 - mixed))
    return odds


def top_mean(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the mean, (C,), over the top tenth of the locations of values (C, locations)."""
    kept = max(1, round(TOP_FRACTION * values.shape[1]))
    return np.asarray(np.partition(values, values.shape[1] - kept, axis=1)[:, -kept:].mean(axis=1))


def _score_locations(
    maps: Iterable[NDArray[np.float32]], average: Array, tags: Array, options: AuditOptions
) -> tuple[Array, Array]:
    """Return top-pooled features (n, D) and out-of-fold logits of the top locations (n, C), in one pass."""
    scale = feature_scale(average)
    scaled = average * scale
    penalty = best_penalty(scaled, tags, options.penalties, options.folds, options.seed)
    fold, heads = cross_fitted_heads(scaled, tags, penalty, options.folds, options.seed)
    top, locations = np.empty(scaled.shape), np.empty(tags.shape)
    for index, feature in enumerate(maps):
        flat = feature.reshape(len(feature), -1)
        head = heads[fold[index]]
        top[index] = top_mean(flat)
        locations[index] = top_mean((head.weight * scale).astype(np.float32) @ flat) + head.bias
    return top, locations
