"""Boxes: each one has its own object, and the object touches all four of its sides."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from igcam.supervision.constraints import BoxRegion

Array = NDArray[np.float32]


def within_boxes(activation: NDArray[np.floating], boxes: Sequence[BoxRegion]) -> Array:
    """Bring every box's part of its class's activation map to a maximum of one, and the rest of it to zero.

    Without this the strongest object of an image hides the others.

    Args:
        activation: Float (C, h, w) in 0..1.
        boxes: On the same grid; classes without a box are left as they are.

    Returns:
        float32 (C, h, w); where boxes of a class overlap, the larger value.
    """
    result = np.array(activation, np.float32)
    for label in {box.label for box in boxes}:
        result[label - 1] = 0
    for box in boxes:
        inside = np.asarray(activation[box.label - 1, box.rows, box.columns], np.float32)
        # A box that the map does not know at all is an object all over.
        scaled = inside / inside.max() if inside.max() > 1e-3 else np.ones_like(inside)
        location = result[box.label - 1, box.rows, box.columns]
        np.maximum(location, scaled, out=location)
    return result


def touch_sides(probability: NDArray[np.floating], boxes: Sequence[BoxRegion], minimum: float = 0.6) -> Array:
    """Raise the class of each box until every row and every column of the box has a place that is probably it.

    The logits of a whole row or column are raised by the same amount, so that the best places win.

    Args:
        probability: Float (K, h, w), summing to one over the classes.
        boxes: On the same grid.
        least: What the best place of every row and column reaches, in 0..1.

    Returns:
        float32 (K, h, w), summing to one; what a class gains the others lose in their proportion.

    Source:
        Every row and column of a tight box meets its object: the projections of Tian et al. (BoxInst), CVPR 2021,
        equation 2, there a loss, here a change of the target.
    """
    result = np.array(probability, np.float32)
    for box in boxes:
        part = result[:, box.rows, box.columns]
        before = np.clip(part[box.label].astype(np.float64), 1e-6, 1 - 1e-6)
        scores = logit(before)
        lifts = [logit(minimum) - scores.max(axis=axis, keepdims=True) for axis in (0, 1)]
        after = expit(scores + np.maximum(0, np.maximum(*lifts)))
        scale = (1 - after) / (1 - before)
        part *= scale
        part[box.label] = after
        part /= part.sum(axis=0)
    return result
