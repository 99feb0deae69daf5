"""Stage 3, reweight: influence decides how far each image and place counts, and a new head learns again."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from igcam.core.errors import check_ranges
from igcam.influence import WeightOptions, influence_weights, robust_scale, shuffled_weights
from igcam.methods.classify import Classifier
from igcam.methods.igcam.rounds import Guided, RoundOptions, learn
from igcam.methods.inputs import Inputs
from igcam.models.linear_head import CrossFit, cross_fit
from igcam.refine.stack import resized

Array = NDArray[np.float32]


@dataclass(frozen=True)
class ReweightOptions:
    """Which weights are taken from influence, and how the second head learns."""

    images: bool = True
    """Weigh images."""
    locations: bool = True
    """Weigh places within images."""
    weights: WeightOptions = field(default_factory=WeightOptions)
    """From influence to weights."""
    shuffled: bool = False
    """Control: deal the images' weights out at random."""
    folds: int = 5
    """Folds: a head that has not seen them judges by the tag loss of the held-out images."""
    learn: RoundOptions = field(default_factory=lambda: RoundOptions(rounds=1))
    """The further round in which a new head learns with these weights."""

    def __post_init__(self) -> None:
        check_ranges(self, folds=(2, math.inf))


def reweight(inputs: Inputs, classifier: Classifier, probabilities: Array, options: ReweightOptions) -> Guided:
    """Re-target with what was predicted so far, weigh by influence, and train a new head.

    Influence is that of each image on the tag loss of held-out images, exact for the linear head, and split
    over the places; masks are not needed for it.

    Args:
        inputs: Features, tags, cues.
        classifier: Its scale and penalty are those of the heads whose influence is taken.
        probabilities: float32 (N, K, h, w), predictions of the stage before.
        options: See there.
    """
    weights = np.ones(probabilities[:, 0].shape, np.float32)
    if options.images or options.locations:
        fitted = cross_fit(
            inputs.pooled.astype(np.float64) * classifier.scale,
            inputs.tags,
            classifier.head.l2,
            min(options.folds, len(inputs.tags)),
            inputs.seed,
        )
        if options.images:
            weights *= _image_weights(fitted, options, inputs.seed)[:, None, None]
        if options.locations:
            weights *= _location_weights(inputs, fitted, classifier.scale, probabilities, options)
    return learn(inputs, probabilities, options.learn, weights)


def _image_weights(fitted: CrossFit, options: ReweightOptions, seed: int) -> Array:
    """Return the weight of each image, float32 (N,), with mean one."""
    weights = influence_weights(fitted.influence.sum(axis=1), options.weights)
    return shuffled_weights(weights, seed) if options.shuffled else weights


def _location_weights(
    inputs: Inputs, fitted: CrossFit, scale: float, probabilities: Array, options: ReweightOptions
) -> Array:
    """Return weights of places, float32 (N, h, w): those of each tagged class, where it is predicted.

    A place counts with the weight of class c to the extent that it is predicted as c, background with one.
    """
    height, width = inputs.map_size
    result = np.ones((len(inputs.tags), height, width), np.float32)
    for index, tags in enumerate(inputs.tags):
        tagged = np.flatnonzero(tags)
        if len(tagged):
            spatial = fitted.spatial(index, inputs.last_level(index) * scale)[tagged]
            weights = influence_weights(spatial, options.weights, scale=robust_scale(spatial))
            by_location = resized(weights, height, width)
            result[index] += (probabilities[index, 1 + tagged] * (by_location - 1)).sum(axis=0)
        inputs.progress("split influence over places", index + 1, len(inputs.tags))
    return result
