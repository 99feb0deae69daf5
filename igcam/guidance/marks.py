"""Points, scribbles and masks of single objects: who they are spreads to what is like them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from igcam.errors import check_ranges
from igcam.guidance.evidence import Mark
from igcam.refine.normalise import by_rows
from igcam.refine.walk_limit import walk_limit

Array = NDArray[np.float32]


@dataclass(frozen=True)
class MarkOptions:
    """How far what was drawn on is believed to spread."""

    restart: float = 0.1
    """Chance that a walk ends after a step: the lower, the farther the marks reach."""
    share: float = 0.5
    """Weight of the marks against the maps when places are shared among the classes, 0 to 1."""

    def __post_init__(self) -> None:
        check_ranges(self, restart=(1e-3, 1), share=(0, 1))


def reached(affinity: Array, marks: Sequence[Mark], labels: int, restart: float) -> Array:
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
        np.maximum(seeds[mark.label], mark.places.ravel(), out=seeds[mark.label])
    return np.clip(walk_limit(by_rows(affinity), seeds, restart), 0, 1)


def share_by_marks(probability: NDArray[np.floating], reach: Array, share: float) -> Array:
    """Share the foreground of every place among the classes by the marks, as far as `share` says.

    The shares of the classes become the geometric mean of what they were and of how far their marks reach. The
    background takes part where it was marked.

    Args:
        probability: Float (K, h, w), summing to one.
        reach: float32 (K, h * w), see `reached`.
        share: Weight of the marks, 0 to 1.

    Returns:
        float32 (K, h, w), summing to one; as it was where no mark reaches.
    """
    result = np.array(probability, np.float32)
    marked = np.flatnonzero(reach.max(axis=1) > 0)
    if len(marked) < 2 or share == 0:
        return result
    before = result[marked]
    total = before.sum(axis=0)
    wanted = reach[marked].reshape(before.shape)
    wanted = wanted / np.maximum(wanted.sum(axis=0), 1e-20)
    joined = np.maximum(before, 1e-6) ** (1 - share) * np.maximum(wanted, 1e-6) ** share
    result[marked] = joined * (total / joined.sum(axis=0))
    return result
