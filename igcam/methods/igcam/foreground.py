"""The foreground model: what objects of all images have in common, against the background."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from igcam.core.validation import Count, Fraction, between, options
from igcam.methods.inputs import Inputs
from igcam.models.linear_head import feature_scale, fit_linear_head
from igcam.supervision.mask_targets import mask_weight_factor

Array = NDArray[np.float32]


@options
class ForegroundOptions:
    """Weight of the model, and how it is fitted; chosen on voc-animals train."""

    weight: Fraction = 1.0
    """Weight of its prediction in the object map that segments are scored by; the rest is the image's own. 0 leaves
    the model out."""
    penalty: Annotated[float, between(1e-12)] = 0.01
    """L2 penalty; features are scaled to a mean square norm of one hundred."""
    locations: Count = 30_000
    """Largest number of locations that it is fitted to, sampled uniformly from all images."""
    mask_weight: Annotated[float, between(0, 0.999)] = 0.5
    """Share of the total weight that the locations of given masks have together, if they are fewer."""


def learn_foreground(inputs: Inputs, probabilities: Array, options: ForegroundOptions) -> Array:
    """Return the foreground probability of each location, float32 (N, h, w).

    A logistic model of the reduced features of a location, fitted to the first pseudo labels and masks of all images,
    float32 (N, K, h, w), background first. Errors such as the ground below an animal differ from image to image and
    average out.
    """
    count, _, height, width = probabilities.shape
    views = inputs.reduced[:2]
    depth = views.shape[2]
    masked = inputs.masked
    weight = np.ones((count, height, width), np.float32)
    for index in map(int, np.flatnonzero(masked)):
        weight[index] = inputs.annotated[index].at(height, width).confidence
    factor = mask_weight_factor(float(weight[masked].sum()), float(weight[~masked].sum()), options.mask_weight)
    weight[masked] *= factor
    weighted = np.flatnonzero(weight)
    sample = np.random.default_rng(inputs.seed).choice(weighted, min(options.locations, len(weighted)), replace=False)
    if not len(sample):
        return 1 - probabilities[:, 0]
    sample.sort()
    image, location = np.divmod(sample, height * width)
    # One image after the other: `reduced` may be mapped from a file.
    features = np.concatenate(
        [views[0, index].reshape(depth, -1)[:, location[image == index]].T for index in np.unique(image)]
    ).astype(np.float64)
    scale = feature_scale(features)
    target = np.clip(1 - probabilities[:, 0].ravel()[sample].astype(np.float64), 0, 1)
    weights = weight.ravel()[sample].astype(np.float64)
    head = fit_linear_head(features * scale, target[:, None], options.penalty, weights)
    result = np.empty((count, height, width), np.float32)
    for index in range(count):
        logits = [head.logits(view[index].reshape(depth, -1).T.astype(np.float64) * scale) for view in views]
        maps = np.reshape(logits, (len(views), height, width))
        maps[1:] = maps[1:, :, ::-1]
        result[index] = expit(maps.mean(axis=0))
    return result
