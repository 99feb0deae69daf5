"""Cue constraints applied to activation maps and predictions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import field
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from igcam.core.validation import Fraction, between, options
from igcam.refine.affinity import DenseAffinityOptions
from igcam.refine.propagation import by_rows, walk_limit
from igcam.supervision.constraints import BoxRegion, CueConstraint, Mark, constrain

Array = NDArray[np.float32]
LocationAffinity = Callable[[DenseAffinityOptions], Array]
"""Options -> float32 (h * w, h * w): the affinity between all locations of an image, on demand."""


@options
class MarkOptions:
    """How far points, scribbles and masks of single objects propagate."""

    affinity: DenseAffinityOptions = field(default_factory=lambda: DenseAffinityOptions(power=2, colour=12, radius=4))
    """The affinity along which they propagate."""
    restart: Annotated[float, between(0.001, 1)] = 0.3
    """Probability that a walk ends after a step: the lower, the farther marks propagate."""
    walk_weight: Fraction = 0.3
    """Weight of the walk probabilities against the maps in the shares of the classes, 0 to 1."""
    level: Annotated[float, between(0, 0.99)] = 0.3
    """Walk probability from which a location is assigned to the class, relative to the best unmarked location."""


def constrain_activation(
    activation: Array, constraint: CueConstraint, affinity: LocationAffinity, options: MarkOptions
) -> Array:
    """Restrict activation maps to the boxes, and raise them to the walk probability of the marks.

    Maps are float32 (C, h, w) in 0..1, before and after, on the grid of the constraint. The affinity is called if there
    are marks.
    """
    activation = within_boxes(activation, constraint.boxes)
    if constraint.marks:
        walk = walk_probability(affinity(options.affinity), constraint.marks, len(activation) + 1, options.restart)[1:]
        walk /= np.maximum(walk.max(axis=1, keepdims=True), 1e-6)
        activation = np.maximum(activation, walk.reshape(activation.shape))
    return activation


def constrain_prediction(
    probability: Array, constraint: CueConstraint, affinity: LocationAffinity, options: MarkOptions
) -> Array:
    """Bring predictions, float32 (K, h, w) on the grid of the constraint, into agreement with all cues of an image.

    A class stays within its boxes and touches all four sides of each. Marks propagate, for which the affinity is called
    unless there is a mask of the whole image: they shift the shares of the classes, and raise a marked class where its
    walk probability is high. Annotated locations keep their annotation. Probabilities sum to one over the classes,
    before and after.
    """
    result = touch_sides(constrain(probability, constraint), constraint.boxes)
    if constraint.marks and not constraint.whole:
        walk = walk_probability(affinity(options.affinity), constraint.marks, len(probability), options.restart)
        result = raise_by_walk(share_by_walk(result, walk, options.walk_weight), walk, constraint.marks, options.level)
    return constrain(result, constraint)


def within_boxes(activation: NDArray[np.floating], boxes: Sequence[BoxRegion]) -> Array:
    """Scale the activation map of a boxed class to a maximum of one in each of its boxes, and clear it outside.

    Without this the strongest object of an image hides the others. Maps are float (C, h, w) in 0..1, float32
    afterwards. Classes without a box keep their map; where boxes of a class overlap, the larger value counts.
    """
    result = np.array(activation, np.float32)
    for label in {box.label for box in boxes}:
        result[label - 1] = 0
    for box in boxes:
        inside = np.asarray(activation[box.label - 1, box.rows, box.columns], np.float32)
        # A box without any activation counts as foreground all over.
        scaled = inside / inside.max() if inside.max() > 1e-3 else np.ones_like(inside)
        region = result[box.label - 1, box.rows, box.columns]
        np.maximum(region, scaled, out=region)
    return result


def touch_sides(probability: NDArray[np.floating], boxes: Sequence[BoxRegion], minimum: float = 0.6) -> Array:
    """Raise the class of each box until every row and column of the box has a location that is probably foreground.

    The logits of a whole row or column are raised by the same amount, so that the best locations win, which reach the
    probability `minimum`; the other classes lose in proportion. Probabilities are float (K, h, w), sum to one before
    and after, and are float32 afterwards.

    Source: The projections of Tian et al. (BoxInst), CVPR 2021, equation 2: there a loss, here a change of the pseudo
    label.
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


def walk_probability(affinity: Array, marks: Sequence[Mark], labels: int, restart: float) -> Array:
    """Return the probability that a random walk from each location ends on a mark of each class, float32 (K, n).

    The walk moves along the affinity, float32 (n, n), and ends after every step with probability `restart`, above 0 and
    at most 1. The classes compete for the same locations, so that the border between two objects lies where the
    affinity drops. Of the K labels, with the background, those without a mark get zero.

    Source: Grady, "Random walks for image segmentation", IEEE TPAMI 2006, with restart in place of absorbing seeds.
    """
    seeds = np.zeros((labels, len(affinity)), np.float32)
    for mark in marks:
        np.maximum(seeds[mark.label], mark.locations.ravel(), out=seeds[mark.label])
    return np.clip(walk_limit(by_rows(affinity), seeds, restart), 0, 1)


def share_by_walk(probability: NDArray[np.floating], walk: Array, weight: float) -> Array:
    """Divide the probability of the marked classes, background included, among them by their walk probabilities.

    The new share of a class is the geometric mean of its old share and its walk probability, which has the given weight
    in 0..1. The walk probabilities of a class, float32 (K, h * w), are first scaled to its sum in the map, as the size
    of a mark says nothing about that of the object. With fewer than two marked classes nothing changes. Probabilities
    are float (K, h, w) and sum to one before and after.
    """
    result = np.array(probability, np.float32)
    marked = np.flatnonzero(walk.max(axis=1) > 0)
    if len(marked) < 2 or weight == 0:
        return result
    before = result[marked]
    total = before.sum(axis=0)
    wanted = walk[marked].reshape(before.shape)
    wanted = wanted * (before.sum(axis=(1, 2)) / np.maximum(wanted.sum(axis=(1, 2)), 1e-20))[:, None, None]
    wanted /= np.maximum(wanted.sum(axis=0), 1e-20)
    joined = np.maximum(before, 1e-6) ** (1 - weight) * np.maximum(wanted, 1e-6) ** weight
    result[marked] = joined * (total / joined.sum(axis=0))
    return result


def raise_by_walk(probability: NDArray[np.floating], walk: Array, marks: Sequence[Mark], level: float) -> Array:
    """Raise a marked class where its walk probability is high, even where no map shows the object.

    The rise begins where the walk probability, float32 (K, h * w), is `level` times that of the best unmarked location,
    which gets a probability of at least 0.9; the other classes lose in proportion. Probabilities are float (K, h, w)
    and sum to one before and after.
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
