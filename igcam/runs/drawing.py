"""From a coarse score map to the mask of a photo: boundary refinement and dense CRF."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from igcam.refine.crf import CRF_PRESETS, CRFParameters, dense_crf
from igcam.refine.pyramid import PyramidOptions, sharpen
from igcam.refine.stack import best_class, resized
from igcam.supervision.constraints import CueConstraint, constrain

Array = NDArray[np.float32]


@dataclass(frozen=True)
class RenderOptions:
    """How masks are refined from score maps."""

    sharpen: PyramidOptions | None = None
    """Multi-scale boundary refinement; None leaves it out."""
    crf: CRFParameters | None = None
    """Dense CRF; None leaves it out."""
    crf_side: int = 0
    """Longer side in pixels of the photos that the CRF's kernel widths suit; they are scaled in proportion to the
    longer side of each photo. 0 keeps them as they are."""
    min_probability: float = 0.1
    """Classes whose probability is below this everywhere are left out; matters without tags only."""


def render(
    image: NDArray[np.uint8],
    scores: NDArray[np.floating],
    options: RenderOptions,
    deep: NDArray[np.floating] | None = None,
    constraint: CueConstraint | None = None,
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Yield the name of each step and the mask after it: `plain`, then `sharpen` and `crf` where they are on.

    Steps are computed lazily, so that the caller can time them.

    Args:
        image: uint8 (H, W, 3).
        scores: Float (C + 1, h, w), not negative, background first.
        options: The steps.
        deep: Float (D, h', w'), features for the coarsest level of the pyramid.
        constraint: Cues on a grid of (H, W) locations, imposed after every step.

    Yields:
        Name and uint8 (H, W) mask with ids 0..C.
    """
    for name, labels, probability in refined(image, scores, options, deep, constraint):
        yield name, labels[best_class(probability)]


def refined(
    image: NDArray[np.uint8],
    scores: NDArray[np.floating],
    options: RenderOptions,
    deep: NDArray[np.floating] | None = None,
    constraint: CueConstraint | None = None,
) -> Iterator[tuple[str, NDArray[np.uint8], Array]]:
    """Yield the soft masks of `render`, before the best class is taken.

    Yields:
        Name of the step, class ids, uint8 (K,), and their probabilities, float32 (K, H, W).
    """
    height, width = image.shape[:2]
    labels, probability = present_classes(scores, options.min_probability)
    known = None if constraint is None else constraint.of(labels)
    full = _kept(resized(probability, height, width), known)
    yield "plain", labels, full
    if options.sharpen is not None:
        # A photo can be smaller than its map.
        coarse = resized(probability, min(height, scores.shape[1]), min(width, scores.shape[2]))
        full = sharpen(image, coarse, options=options.sharpen, deep=deep)[-1].probability
        if full.shape[1:] != (height, width):
            full = resized(full, height, width)
        full = _kept(full, known)
        yield "sharpen", labels, full
    if options.crf is not None:
        crf = options.crf.scaled(max(height, width) / options.crf_side) if options.crf_side else options.crf
        yield "crf", labels, _kept(dense_crf(image, np.clip(full, 0, 1), crf), known)


def _kept(probability: Array, constraint: CueConstraint | None) -> Array:
    return probability if constraint is None else constrain(probability, constraint)


def present_classes(scores: NDArray[np.floating], min_probability: float) -> tuple[NDArray[np.uint8], Array]:
    """Return the background and the classes whose score reaches `min_probability` somewhere.

    Args:
        scores: Float (C + 1, h, w), not negative, background first.
        min_probability: Threshold for the largest score of a class; the strongest class is always kept.

    Returns:
        Ids, uint8 (K,), and their scores, float32 (K, h, w), summing to one at each location.
    """
    strongest = scores.reshape(len(scores), -1).max(axis=1)
    labels = np.flatnonzero(strongest >= min(min_probability, float(strongest.max())))
    present: NDArray[np.uint8] = np.union1d(0, labels).astype(np.uint8)
    kept = np.asarray(scores[present], np.float32)
    # A location without any score is background.
    kept[0] += kept.sum(axis=0) == 0
    probability: Array = kept / kept.sum(axis=0)
    return present, probability


def final_mask(
    image: NDArray[np.uint8],
    scores: NDArray[np.floating],
    options: RenderOptions,
    deep: NDArray[np.floating] | None = None,
) -> NDArray[np.uint8]:
    """Return the mask after the last step of `render`."""
    labels, probability = final_map(image, scores, options, deep)
    mask: NDArray[np.uint8] = labels[best_class(probability)]
    return mask


def final_map(
    image: NDArray[np.uint8],
    scores: NDArray[np.floating],
    options: RenderOptions,
    deep: NDArray[np.floating] | None = None,
) -> tuple[NDArray[np.uint8], Array]:
    """Return class ids and probabilities after the last step of `refined`; only these are kept in memory."""
    ((_, labels, probability),) = deque(refined(image, scores, options, deep), maxlen=1)
    return labels, probability


def render_options(stages: Sequence[str], pyramid: PyramidOptions, crf: str, crf_side: int = 0) -> RenderOptions:
    """Return the options of the steps that are on, of `sharpen` and `crf`; `crf` names a preset of the CRF."""
    preset = CRF_PRESETS[crf] if "crf" in stages else None
    return RenderOptions(pyramid if "sharpen" in stages else None, preset, crf_side)
