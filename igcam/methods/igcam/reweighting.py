"""Stage 3, reweight: images and locations are weighted by influence, and a new head is trained."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from igcam.core.validation import between, options
from igcam.influence import WeightOptions, influence_weights, robust_scale, shuffled_weights
from igcam.methods.classifier import Classifier
from igcam.methods.igcam.rounds import Guided, RoundOptions, learn
from igcam.methods.inputs import Inputs
from igcam.models.linear_head import CrossFit, cross_fit
from igcam.refine.stack import resized

Array = NDArray[np.float32]


@options
class ReweightOptions:
    """Which weights come from influence, and how the new head is trained."""

    images: bool = True
    """Weight images."""
    locations: bool = True
    """Weight locations within images."""
    weights: WeightOptions = field(default_factory=WeightOptions)
    """From influence to weights."""
    shuffled: bool = False
    """Control: assign the weights of images at random."""
    folds: Annotated[int, between(2)] = 5
    """Folds of the cross-fitted heads, whose held-out tag loss defines influence."""
    learn: RoundOptions = field(default_factory=lambda: RoundOptions(rounds=1))
    """The round in which a new head is trained with these weights."""


def reweight(inputs: Inputs, classifier: Classifier, probabilities: Array, options: ReweightOptions) -> Guided:
    """Update the pseudo labels by the predictions so far, weight them by influence, and train a new head.

    Influence is that of each image on the tag loss of held-out images, exact for the linear head and split over its
    locations. The cross-fitted heads have the scale and penalty of the classifier; `probabilities` are predictions of
    the previous stage, float32 (N, K, h, w).
    """
    weights = np.ones(probabilities[:, 0].shape, np.float32)
    if options.images or options.locations:
        features, folds = inputs.pooled.astype(np.float64) * classifier.scale, min(options.folds, len(inputs.tags))
        fitted = cross_fit(features, inputs.tags, classifier.head.l2, folds, inputs.seed)
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
    """Return the weight of each location, float32 (N, h, w).

    It is the mean of the weights of its tagged classes by their predicted probability; background has weight one.
    """
    result = np.ones((len(inputs.tags), *inputs.map_size), np.float32)
    for index, tags in enumerate(inputs.tags):
        tagged = np.flatnonzero(tags)
        if len(tagged):
            spatial = fitted.spatial(index, inputs.last_level(index) * scale)[tagged]
            weights = influence_weights(spatial, options.weights, scale=robust_scale(spatial))
            change = resized(weights, *inputs.map_size) - 1
            result[index] += (probabilities[index, 1 + tagged] * change).sum(axis=0)
        inputs.progress("split influence over locations", index + 1, len(inputs.tags))
    return result
