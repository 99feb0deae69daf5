"""Merging regions two by two, the most alike neighbours first: every node of the tree is a segment."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Masks = NDArray[np.bool_]


def merge_regions(likeness: Array, merge: Callable[[int, int], Array]) -> list[tuple[int, int, float]]:
    """Merge the most alike pair again and again, until no two regions are left that may be merged.

    Args:
        likeness: float32 (R, R), symmetric; -inf for pairs that are no neighbours and on the diagonal.
        merge: Called with (first, second) when these merge; first then stands for both. Returns the likeness of the
            new region to all R, which only counts where it is a neighbour.

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
    """Return what each merge made, bool (M, rows, columns), from region numbers 0..R-1 of (rows, columns)."""
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
