"""Points, scribbles and masks of single objects: who they are spreads to what is like them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from igcam.core.errors import check_ranges
from igcam.refine.affinity import DenseAffinityOptions
from igcam.refine.propagation import by_rows
from igcam.refine.propagation import walk_limit
from igcam.supervision.constraints import Mark

Array = NDArray[np.float32]


@dataclass(frozen=True)
class MarkOptions:
    """How far what was drawn on is believed to spread."""

    affinity: DenseAffinityOptions = field(default_factory=lambda: DenseAffinityOptions(power=2, colour=12, radius=4))
    """Along which likeness it spreads."""
    restart: float = 0.3
    """Chance that a walk ends after a step: the lower, the farther the marks reach."""
    walk_weight: float = 0.3
    """Weight of the marks against the maps when places are shared among the classes, 0 to 1."""
    level: float = 0.3
    """What is reached so well, beside the best place that was not marked itself, begins to be of the class."""

    def __post_init__(self) -> None:
        check_ranges(self, restart=(1e-3, 1), walk_weight=(0, 1), level=(0, 0.99))


def walk_probability(affinity: Array, marks: Sequence[Mark], labels: int, restart: float) -> Array:
    """Return how far every place is reached from the marks of each class.

    A walk starts at the place, goes from place to place as they are alike, and ends after every step with the
    chance `restart`; the answer is the chance that it ends on a mark of the class. The classes' walks compete for
    the same places, so that between two objects the border lies where the likeness changes.

    Args:
        affinity: float32 (n, n) between the places, at least 0.
        marks: On a grid of n places.
        labels: Number of classes K, with the background.
        restart: Above 0 and at most 1.

    Returns:
        float32 (K, n) in 0..1, zero for classes without a mark.

    Source:
        Grady, "Random walks for image segmentation", IEEE TPAMI 2006, with restart in place of absorbing seeds.
    """
    seeds = np.zeros((labels, len(affinity)), np.float32)
    for mark in marks:
        np.maximum(seeds[mark.label], mark.locations.ravel(), out=seeds[mark.label])
    return np.clip(walk_limit(by_rows(affinity), seeds, restart), 0, 1)


def share_by_walk(probability: NDArray[np.floating], walk: Array, share: float) -> Array:
    """Share the foreground of every place among the classes by the marks, as far as `share` says.

    The shares of the classes become the geometric mean of what they were and of how far their marks reach. The
    background takes part where it was marked. Before, the reach of each class is scaled to the sum that the class has
    in the map: a line through an object covers more of it than one through the background does of that, which says
    nothing about how large they are.

    Args:
        probability: Float (K, h, w), summing to one.
        reach: float32 (K, h * w), see `reached`.
        share: Weight of the marks, 0 to 1.

    Returns:
        float32 (K, h, w), summing to one; as it was where no mark reaches.
    """
    result = np.array(probability, np.float32)
    marked = np.flatnonzero(walk.max(axis=1) > 0)
    if len(marked) < 2 or share == 0:
        return result
    before = result[marked]
    total = before.sum(axis=0)
    wanted = walk[marked].reshape(before.shape)
    wanted = wanted * (before.sum(axis=(1, 2)) / np.maximum(wanted.sum(axis=(1, 2)), 1e-20))[:, None, None]
    wanted /= np.maximum(wanted.sum(axis=0), 1e-20)
    joined = np.maximum(before, 1e-6) ** (1 - share) * np.maximum(wanted, 1e-6) ** share
    result[marked] = joined * (total / joined.sum(axis=0))
    return result


def raise_by_walk(probability: NDArray[np.floating], walk: Array, marks: Sequence[Mark], level: float) -> Array:
    """Raise a marked class where its marks reach well: the object that was pointed at is there, though no map shows it.

    Args:
        probability: Float (K, h, w), summing to one.
        reach: float32 (K, h * w), see `reached`.
        marks: Those that it is the reach of.
        level: Reach at which this begins, as a share of that of the best place which was not marked itself; there
            the class has a probability of at least 0.9.

    Returns:
        float32 (K, h, w), summing to one; what a class gains the others lose in their proportion.
    """
    result = np.array(probability, np.float32)
    for label in {mark.label for mark in marks if mark.label}:
        marked = np.max([mark.locations.ravel() for mark in marks if mark.label == label], axis=0) > 0
        best = float(walk[label][~marked].max(initial=0))
        if best <= 0:
            continue
        minimum = 0.9 * np.clip((walk[label] / best - level) / (1 - level), 0, 1).reshape(result.shape[1:])
        before = result[label].copy()
        after = np.maximum(before, minimum)
        result *= (1 - after) / np.maximum(1 - before, 1e-6)
        result[label] = after
        result /= result.sum(axis=0)
    return result
