"""From coarse scores to the mask of a photo: enlarged, refined step by step, in agreement with the cues."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from igcam.methods.base import Refinement, Soft
from igcam.refine.stack import best_class, resized
from igcam.supervision.constraints import CueConstraint, constrain

Array = NDArray[np.float32]
MIN_PROBABILITY = 0.1
"""Classes below it everywhere are not refined; matters without tags only."""


def soft_masks(
    image: NDArray[np.uint8],
    scores: NDArray[np.floating],
    steps: Sequence[Refinement],
    features: NDArray[np.floating] | None = None,
    constraint: CueConstraint | None = None,
    *,
    side: int = 0,
    min_probability: float = MIN_PROBABILITY,
) -> Iterator[tuple[str, NDArray[np.uint8], Array]]:
    """Yield the enlarged scores, named "", and the result of each refinement with its name.

    A step is computed when it is asked for, so that the caller can time it.

    Args:
        image: uint8 (H, W, 3), a photo or a tile of it.
        scores: Float (C + 1, h, w), not negative, background first; the largest is the answer.
        steps: Refinements, in order.
        features: Float (D, h', w') of the image, for refinements that use them.
        constraint: Cues on a grid of (H, W) locations, kept after every step.
        side: Longer side of the whole photo in pixels; 0 takes that of `image`.
        min_probability: Classes below it everywhere are left out.

    Yields:
        Name of the step, ids uint8 (K,), and their probabilities, float32 (K, H, W).
    """
    height, width = image.shape[:2]
    labels, coarse = present_classes(scores, min_probability)
    known = None if constraint is None else constraint.of(labels)
    full = _kept(resized(coarse, height, width), known)
    yield "", labels, full
    for step in steps:
        full = _kept(step.refine(Soft(image, full, coarse, features, side or max(height, width))), known)
        yield step.name, labels, full


def final_soft_mask(
    image: NDArray[np.uint8],
    scores: NDArray[np.floating],
    steps: Sequence[Refinement],
    features: NDArray[np.floating] | None = None,
    *,
    side: int = 0,
    min_probability: float = MIN_PROBABILITY,
) -> tuple[NDArray[np.uint8], Array]:
    """Return ids and probabilities after the last step of `soft_masks`, with only these in memory."""
    every = soft_masks(image, scores, steps, features, side=side, min_probability=min_probability)
    ((_, labels, probability),) = deque(every, maxlen=1)
    return labels, probability


def final_mask(
    image: NDArray[np.uint8],
    scores: NDArray[np.floating],
    steps: Sequence[Refinement] = (),
    features: NDArray[np.floating] | None = None,
    min_probability: float = MIN_PROBABILITY,
) -> NDArray[np.uint8]:
    """Return the mask after the last step, uint8 (H, W)."""
    labels, probability = final_soft_mask(image, scores, steps, features, min_probability=min_probability)
    mask: NDArray[np.uint8] = labels[best_class(probability)]
    return mask


def present_classes(scores: NDArray[np.floating], min_probability: float) -> tuple[NDArray[np.uint8], Array]:
    """Return the background, the strongest class and all that reach `min_probability` somewhere.

    Ids are uint8 (K,), their scores float32 (K, h, w), summing to one at each location. `scores` are float
    (C + 1, h, w), not negative, background first; locations without any class become background.
    """
    strongest = scores.reshape(len(scores), -1).max(axis=1)
    labels = np.flatnonzero(strongest >= min(min_probability, float(strongest.max())))
    present: NDArray[np.uint8] = np.union1d(0, labels).astype(np.uint8)
    kept = np.asarray(scores[present], np.float32)
    kept[0] += kept.sum(axis=0) == 0
    probability: Array = kept / kept.sum(axis=0)
    return present, probability


def _kept(probability: Array, constraint: CueConstraint | None) -> Array:
    return probability if constraint is None else constrain(probability, constraint)
