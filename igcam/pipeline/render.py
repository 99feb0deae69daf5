"""From a coarse probability map to the mask of a photo: sharpen, CRF, and the stages in between."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from igcam.refine.crf import CRF_PRESETS, CRFParameters, dense_crf
from igcam.refine.pyramid import PyramidOptions, sharpen
from igcam.refine.stack import resized

Array = NDArray[np.float32]


@dataclass(frozen=True)
class RenderOptions:
    """How masks are drawn from maps."""

    sharpen: PyramidOptions | None = None
    """None leaves the multi-scale boundary enhancement out."""
    crf: CRFParameters | None = None
    """None leaves the CRF out."""
    least_probability: float = 0.1
    """Classes that are nowhere as probable as this are not refined; matters without tags only."""


def render(
    image: NDArray[np.uint8],
    scores: NDArray[np.floating],
    options: RenderOptions,
    deep: NDArray[np.floating] | None = None,
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Yield the mask after each step with its name: `plain`, then `sharpen` and `crf` where they are on.

    A step is computed when it is asked for, so that the caller can time it.

    Args:
        image: uint8 (H, W, 3).
        scores: Float (C + 1, h, w), not negative, background first; the largest is the answer.
        options: What to do.
        deep: Float (D, h', w'), features for the first level of the pyramid.

    Yields:
        Name and uint8 (H, W) mask with ids 0..C.
    """
    height, width = image.shape[:2]
    labels, probability = present_classes(scores, options.least_probability)
    full = resized(probability, height, width)
    yield "plain", labels[full.argmax(axis=0)]
    if options.sharpen is not None:
        # A small photo can be smaller than its map.
        coarse = resized(probability, min(height, scores.shape[1]), min(width, scores.shape[2]))
        full = sharpen(image, coarse, options=options.sharpen, deep=deep)[-1].probability
        if full.shape[1:] != (height, width):
            full = resized(full, height, width)
        yield "sharpen", labels[full.argmax(axis=0)]
    if options.crf is not None:
        yield "crf", labels[dense_crf(image, np.clip(full, 0, 1), options.crf).argmax(axis=0)]


def present_classes(scores: NDArray[np.floating], least_probability: float) -> tuple[NDArray[np.uint8], Array]:
    """Return what is worth refining: the background and the classes that are somewhere so probable.

    Args:
        scores: Float (C + 1, h, w), not negative, background first.
        least_probability: Classes that reach it nowhere are left out; the strongest never is.

    Returns:
        Ids, uint8 (K,), and their scores, float32 (K, h, w), summing to one at each place.
    """
    strongest = scores.reshape(len(scores), -1).max(axis=1)
    labels = np.flatnonzero(strongest >= min(least_probability, float(strongest.max())))
    present: NDArray[np.uint8] = np.union1d(0, labels).astype(np.uint8)
    kept = np.asarray(scores[present], np.float32)
    # What no class claims is background.
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
    return list(render(image, scores, options, deep))[-1][1]


def render_options(stages: Sequence[str], pyramid: PyramidOptions, crf: str) -> RenderOptions:
    """Return the options for the stages that are on; `crf` names a preset."""
    return RenderOptions(pyramid if "sharpen" in stages else None, CRF_PRESETS[crf] if "crf" in stages else None)
