"""Choosing among refiners without a test set: by masks that are cues, or by agreement with the other refiners."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from igcam.core.parallel import in_parallel
from igcam.refine.stack import best_class, resized

Array = NDArray[np.float32]
Refiner = Callable[[int, Array], Array]
"""Index of an example and its map (K', h, w) of the classes present -> refined map (K', H, W) of any size."""
PRESENT = 0.1
"""Classes whose maximum probability is below this are not refined."""
UNKNOWN = 255


@dataclass(frozen=True)
class Example:
    """A coarse map, and its mask, uint8 (H, W) of 0..K - 1 and 255 = unknown, where one is given as a cue."""

    probability: Array
    """float32 (K, h, w), summing to one over the classes, K at most 255."""
    mask: NDArray[np.uint8] | None = None


def search(
    refiners: Mapping[str, Refiner], examples: Sequence[Example], *, workers: int | None = None
) -> dict[str, float]:
    """Score refiners, best first.

    If examples have masks, these alone count: the score is the mean IoU of the refined maps over the classes. Without
    any, it is the mean IoU with the majority of the other refiners, over the pixels on which not all agree. Refiners
    that propagate too little or too far, or follow textures, err in different pixels, so that the majority is mostly
    correct; one that is far better than all others can rank below those near the majority. Give refiners of several
    kinds and strengths. `benchmarks/refine.py` compares the ranking with that by the true mean IoU.

    Args:
        refiners: By name; at least three where no example has a mask.
        examples: At least one.
        workers: Threads; None is one per core.

    Returns:
        Name -> score in 0..1, best first.

    Raises:
        ValueError: There are no refiners or examples, or too few refiners.
    """
    if not refiners or not examples:
        raise ValueError(f"refiners, examples: must not be empty, got {len(refiners)} and {len(examples)}")
    classes = len(examples[0].probability)
    judged = [index for index, example in enumerate(examples) if example.mask is not None]
    if not judged and len(refiners) < 3:
        raise ValueError(f"refiners: must be at least 3 where no example has a mask, got {len(refiners)}")

    def count(index: int) -> NDArray[np.int64]:
        """Return the confusion of each refiner with its reference, for one example."""
        example = examples[index]
        answers = _answers(refiners, index, example)
        if example.mask is not None:
            return np.stack([_table(example.mask, answer, classes) for answer in answers])
        votes = np.stack([(answers == label).sum(axis=0) for label in range(classes)])
        agreement = votes.max(axis=0) == len(answers)
        others = [(votes - (answer == np.arange(classes)[:, None, None])).argmax(axis=0) for answer in answers]
        measures = [np.where(agreement, UNKNOWN, other) for other in others]
        return np.stack([_table(*pair, classes) for pair in zip(measures, answers, strict=True)])

    total = sum(in_parallel(count, judged or range(len(examples)), workers), np.zeros((), np.int64))
    result = {name: _mean_iou(table) for name, table in zip(refiners, total, strict=True)}
    return dict(sorted(result.items(), key=lambda item: -item[1]))


def mutual_iou(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    """Return the mean IoU of the best classes of two maps, float (..., K, h, w), over the classes in either."""
    return _mean_iou(_table(first.argmax(axis=-3), second.argmax(axis=-3), first.shape[-3]))


def _answers(refiners: Mapping[str, Refiner], index: int, example: Example) -> NDArray[np.uint8]:
    """Return the best class by each refiner, uint8 (R, H, W), at the size of the mask or of the finest answer."""
    strongest = example.probability.reshape(len(example.probability), -1).max(axis=1)
    labels = np.flatnonzero(strongest >= min(PRESENT, strongest.max())).astype(np.uint8)
    kept = example.probability[labels]
    refined = [refiner(index, kept / kept.sum(axis=0)) for refiner in refiners.values()]
    shape = max(answer.shape[1:] for answer in refined) if example.mask is None else example.mask.shape
    return np.stack([labels[best_class(_fitted(answer, *shape))] for answer in refined])


def _fitted(answer: Array, height: int, width: int) -> Array:
    if answer.shape[1:] == (height, width):
        return answer
    return resized(answer, height, width, cv2.INTER_AREA if answer.shape[1] > height else cv2.INTER_LINEAR)


def _table(truth: NDArray[np.integer], found: NDArray[np.integer], classes: int) -> NDArray[np.int64]:
    """Count the pixels by true and found class, int64 (classes, classes)."""
    known = truth != UNKNOWN
    pairs = truth[known].astype(np.int64) * classes + found[known]
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def _mean_iou(table: NDArray[np.int64]) -> float:
    hit = np.diagonal(table)
    union = table.sum(axis=0) + table.sum(axis=1) - hit
    return float((hit[union > 0] / union[union > 0]).mean()) if union.any() else 0.0
