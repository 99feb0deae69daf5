"""Choosing among refiners without a test set: by masks that are cues, or by what is hidden from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from igcam.refine.batch import in_parallel
from igcam.refine.stack import margin, resized

Array = NDArray[np.float32]
Refiner = Callable[[int, Array], Array]
"""Index of an example and its map (K', h, w) of the classes present -> refined map (K', H, W) of any size."""
CERTAIN = 0.3
"""Least margin between the best and the second class of a hidden place that is asked for."""
PRESENT = 0.1
"""Classes that are nowhere as probable as this are not refined."""


@dataclass(frozen=True)
class Example:
    """A coarse map, and its mask where one is given as a cue."""

    probability: Array
    """float32 (K, h, w), summing to one over the classes."""
    mask: NDArray[np.uint8] | None = None
    """uint8 (H, W), 0..K - 1 and 255 = unknown."""


def search(
    refiners: Mapping[str, Refiner],
    examples: Sequence[Example],
    *,
    share: float = 0.3,
    block: int = 3,
    seed: int = 0,
    workers: int | None = None,
) -> dict[str, float]:
    """Score refiners; take the first of the answer.

    If examples have masks, these alone count: the mean IoU of the refined maps over the classes. Without any, a
    share of the places is hidden, in blocks: all classes present become equally probable there. A refiner is good
    if it finds at the hidden places what the map had said there, where that was clear; the score is the mean IoU
    of the two. One that spreads too little leaves them undecided, one that spreads too far gets them wrong.
    `benchmarks/refine.py` shows how that goes with the true mean IoU.

    Args:
        refiners: By name.
        examples: At least one.
        share: Of the places that are hidden, between 0 and 1.
        block: Side of a hidden block, in places.
        seed: Which are hidden; the same for all refiners.
        workers: Threads; None is one a core.

    Returns:
        Name -> score in 0..1, best first.

    Raises:
        ValueError: There is nothing to choose from or by, or a number is out of its range.
    """
    if not refiners or not examples:
        raise ValueError(f"refiners, examples: must not be empty, got {len(refiners)} and {len(examples)}")
    if not 0 < share < 1 or block < 1:
        raise ValueError(f"share, block: must lie between 0 and 1 and be at least 1, got {share} and {block}")
    classes = len(examples[0].probability)
    judged = [index for index, example in enumerate(examples) if example.mask is not None]
    chosen = judged or list(range(len(examples)))

    def count(name: str, index: int) -> NDArray[np.int64]:
        example = examples[index]
        if example.mask is not None:
            return _table(example.mask, _refined(refiners[name], index, example.probability, example.mask.shape))
        asked, hidden = _hide(example.probability, share, block, np.random.default_rng([seed, index]))
        found = _refined(refiners[name], index, hidden, asked.shape)
        return _table(asked, found)

    result = {}
    for name in refiners:
        total = np.zeros((256, 256), np.int64)
        for table in in_parallel(lambda index, name=name: count(name, index), chosen, workers):  # type: ignore[misc]
            total += table
        result[name] = _mean_iou(total[:classes, :classes])
    return dict(sorted(result.items(), key=lambda item: -item[1]))


def _hide(probability: Array, share: float, block: int, random: np.random.Generator) -> tuple[NDArray[np.uint8], Array]:
    """Return what the map says at hidden places that are clear, 255 elsewhere, and the map without them."""
    height, width = probability.shape[1:]
    blocks = random.random((-(-height // block), -(-width // block))) < share
    hidden = blocks.repeat(block, axis=0).repeat(block, axis=1)[:height, :width]
    asked = np.where(hidden & (margin(probability) > CERTAIN), probability.argmax(axis=0), 255).astype(np.uint8)
    present = _present(probability)
    kept = probability.copy()
    kept[:, hidden] = (present / present.sum())[:, None]
    return asked, kept


def _present(probability: Array) -> NDArray[np.bool_]:
    strongest = probability.reshape(len(probability), -1).max(axis=1)
    return np.asarray(strongest >= min(PRESENT, strongest.max()))


def _refined(refiner: Refiner, index: int, probability: Array, shape: tuple[int, int]) -> NDArray[np.uint8]:
    labels = np.flatnonzero(_present(probability))
    kept = probability[labels]
    refined = refiner(index, kept / kept.sum(axis=0))
    how = cv2.INTER_AREA if refined.shape[1] > shape[0] else cv2.INTER_LINEAR
    return labels[resized(refined, *shape, how).argmax(axis=0)].astype(np.uint8)


def _table(truth: NDArray[np.uint8], found: NDArray[np.uint8]) -> NDArray[np.int64]:
    pairs = truth.astype(np.int64) * 256 + found
    return np.bincount(pairs[truth != 255], minlength=1 << 16).reshape(256, 256)


def _mean_iou(table: NDArray[np.int64]) -> float:
    hit = np.diagonal(table)
    union = table.sum(axis=0) + table.sum(axis=1) - hit
    return float((hit[union > 0] / union[union > 0]).mean()) if union.any() else 0.0
