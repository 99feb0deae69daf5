"""Out-of-fold evidence for the classes of an image, from heads that have not seen its tags."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from igcam.core.errors import IgcamError, check_ranges
from igcam.influence.design import checked_tags
from igcam.label_quality.suspicion import Suspicion, neighbour_scores, suspicion
from igcam.models.linear_head import cross_fitted_heads, cross_fitted_logits, feature_scale
from igcam.models.penalty import best_penalty, rotated
from igcam.models.power_normalisation import power_normalised

Array = NDArray[np.float64]
TOP_SHARE = 0.1
"""Share of the places that top pooling is the mean over."""


@dataclass(frozen=True)
class AuditOptions:
    """How suspicious tags are found."""

    penalties: tuple[float, ...] = (0.1, 0.05, 0.02, 0.01, 0.003)
    """L2 penalties to choose from by the out-of-fold tag loss; features have a mean square norm of one hundred."""
    folds: int = 5
    """An image is judged by heads that were fitted without its fold."""
    repeats: int = 4
    """Random splits into folds, whose logits are averaged."""
    neighbours: int = 10
    """Most similar images whose tags are asked."""
    seed: int = 0
    """Seeds the splits."""

    def __post_init__(self) -> None:
        check_ranges(self, folds=(2, math.inf), repeats=(1, math.inf), neighbours=(1, math.inf))
        if not self.penalties or not min(self.penalties) > 0:
            raise IgcamError(f"penalties must be one or more numbers above 0, got {list(self.penalties)}")


@dataclass(frozen=True)
class TagScores:
    """What speaks for a class in an image, without its own tags."""

    logits: Array
    """float64 (n, C): out-of-fold logits of the image, mean over the splits."""
    neighbours: Array
    """float64 (n, C): log odds of the class among the most similar images."""
    locations: Array | None
    """float64 (n, C): out-of-fold logits of the places, mean over the top tenth of them."""
    penalty: float
    """L2 penalty of the heads."""

    def suspicion(self, tags: ArrayLike) -> Suspicion:
        """Weigh the evidence against the tags."""
        kinds = [self.logits, self.neighbours, *([] if self.locations is None else [self.locations])]
        return suspicion(kinds, tags)


def score_tags(
    average: ArrayLike,
    tags: ArrayLike,
    feature_map: Callable[[int], ArrayLike] | None = None,
    options: AuditOptions | None = None,
) -> TagScores:
    """Return out-of-fold evidence for every class in every image.

    The head of the whole image sees average-pooled features beside those averaged over their top tenth of
    places, as a small object hardly moves an average. Both go through a signed square root, which stops
    single strong features from deciding (Perronnin et al., ECCV 2010), and are centred.

    Args:
        average: (n, D), average-pooled features.
        tags: (n, C), 0 or 1, or how far each is believed.
        feature_map: Returns the features (D, h, w) before pooling of one image; None does without places.
        options: Defaults to `AuditOptions()`.

    Raises:
        ValueError: Wrong shapes or values of arrays.
        IgcamError: There are fewer images than folds.
    """
    options = options or AuditOptions()
    average = np.asarray(average, np.float64)
    tags = checked_tags("tags", tags, len(average))
    plain = average * feature_scale(average)
    roots = power_normalised(average).features
    locations, joined = None, roots
    if feature_map is not None:
        maps = (np.asarray(feature_map(index), np.float32) for index in range(len(average)))
        top, locations = _over_locations(maps, plain, tags, feature_scale(average), options)
        joined = np.hstack([roots, power_normalised(top).features]) / math.sqrt(2)
    joined = rotated(joined)
    penalty = best_penalty(joined, tags, options.penalties, options.folds, options.seed)
    logits = np.mean(
        [
            cross_fitted_logits(joined, tags, penalty, options.folds, options.seed + repeat)
            for repeat in range(options.repeats)
        ],
        axis=0,
    )
    return TagScores(logits, neighbour_scores(roots, tags, options.neighbours), locations, penalty)


def top_mean(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the mean, (C,), over the top tenth of the places of values (C, places)."""
    kept = max(1, round(TOP_SHARE * values.shape[1]))
    return np.asarray(np.partition(values, values.shape[1] - kept, axis=1)[:, -kept:].mean(axis=1))


def _over_locations(
    maps: Iterable[NDArray[np.float32]], plain: Array, tags: Array, scale: float, options: AuditOptions
) -> tuple[Array, Array]:
    """Return top-pooled features (n, D) and out-of-fold logits of the top places (n, C), in one pass."""
    penalty = best_penalty(plain, tags, options.penalties, options.folds, options.seed)
    fold, heads = cross_fitted_heads(plain, tags, penalty, options.folds, options.seed)
    top, locations = np.empty(plain.shape), np.empty(tags.shape)
    for index, feature in enumerate(maps):
        flat = feature.reshape(len(feature), -1)
        head = heads[fold[index]]
        top[index] = top_mean(flat)
        locations[index] = top_mean((head.weight * scale).astype(np.float32) @ flat) + head.bias
    return top, locations
