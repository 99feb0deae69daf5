"""Predictions put in agreement with the cues of their image: the same in every round, whatever kinds there are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from igcam.methods.inputs import Inputs
from igcam.refine.affinity import DenseAffinityOptions, dense_affinity
from igcam.supervision.boxes import touch_sides
from igcam.supervision.constraints import constrain
from igcam.supervision.marks import MarkOptions, raise_by_walk, share_by_walk, walk_probability

Array = NDArray[np.float32]


def location_affinity(inputs: Inputs, index: int, options: DenseAffinityOptions) -> Array:
    """Return how alike the places of an image are, float32 (h * w, h * w), on the grid of the maps."""
    feature = inputs.at_map_size(inputs.grouping(index))
    return dense_affinity(feature, inputs.image(index, feature.shape[1]), options)


def condition(inputs: Inputs, index: int, probability: Array, marks: MarkOptions) -> Array:
    """Return what an image is, given what was predicted for it and what was drawn on it.

    Classes stay within their boxes and touch all sides of each; places are shared among the classes by the marks
    that reach them, and those that are reached well are of the class; what was drawn on is what was drawn.

    Args:
        inputs: Features and cues.
        index: The image.
        probability: float32 (K, h, w) at the size of the maps, summing to one.
        marks: How far marks spread.
    """
    constraint = inputs.constraint(index)
    if constraint is None:
        return probability
    result = touch_sides(constrain(probability, constraint), constraint.boxes)
    if constraint.marks and not constraint.whole:
        walk = walk_probability(location_affinity(inputs, index, marks.affinity), constraint.marks, len(probability), marks.restart)
        result = raise_by_walk(share_by_walk(result, walk, marks.walk_weight), walk, constraint.marks, marks.level)
    return constrain(result, constraint)
