"""Training with noisy tags: a tag posterior from out-of-fold scores replaces the tags."""

from __future__ import annotations

from dataclasses import field, replace

import numpy as np
from numpy.typing import NDArray

from igcam.core.validation import Fraction, options
from igcam.influence import shuffled_weights
from igcam.label_quality.suspicion import fit_noise_model
from igcam.label_quality.tag_scores import AuditOptions, score_tags
from igcam.methods.classifier import Classifier, tagged_activation
from igcam.methods.inputs import Inputs
from igcam.supervision.pseudo_labels import restrict_to_tags

Array = NDArray[np.float32]


@options
class NoisyTagOptions:
    """Whether tags may be wrong."""

    weight: Fraction = 0.0
    """Weight of the odds that a tag is wrong, 0 to 1: 0 takes the tags as they are, 1 their full posterior."""
    min_posterior: Fraction = 0.1
    """Smallest posterior with which a class gets an activation map."""
    disputed_weight: Fraction = 0.1
    """Weight of an image with a class of posterior 0.5; it rises to one as all posteriors approach 0 or 1."""
    scores: AuditOptions = field(default_factory=AuditOptions)
    """How classes are scored; its seed is added to that of the run."""
    shuffled: bool = False
    """Control: permute the posteriors at random, among tagged and among untagged classes."""


def tag_posterior(inputs: Inputs, options: NoisyTagOptions) -> Array:
    """Return the probability that each class is in each image, float32 (N, C), by the odds of the tag audit.

    Images with cues keep their tags.
    """
    count = len(inputs.tags)
    tags = inputs.tags.astype(np.float64)
    given = options.scores
    chosen = replace(given, folds=min(given.folds, count), seed=inputs.seed + given.seed)

    def feature_map(index: int) -> Array:
        inputs.progress("look for wrong tags", index + 1, count)
        return inputs.last_level(index)

    # A second pass would find fewer missing tags.
    scores = score_tags(inputs.pooled, tags, feature_map, chosen)
    posterior = fit_noise_model(scores.kinds(), tags).posterior(tags, options.weight).astype(np.float32)
    if options.shuffled:
        posterior = shuffled_weights(posterior, inputs.seed, tags.astype(np.int64))
    annotated = sorted(inputs.annotated)
    posterior[annotated] = inputs.tags[annotated]
    return posterior


def agreement(posterior: Array, minimum: float) -> Array:
    """Return the weight of each image's pseudo labels, float32 (N,): min over c of 1 - (1 - minimum) 4 b_c (1 - b_c).

    Pseudo labels of a class with posterior b_c = 0.5 are half wrong either way.
    """
    return np.asarray((1 - (1 - minimum) * 4 * posterior * (1 - posterior)).min(axis=1), np.float32)


def weighted_by_posterior(inputs: Inputs, probabilities: Array) -> Array:
    """Return probabilities (N, C + 1, h, w) with every class weighted by its tag posterior, if there is one."""
    return probabilities if inputs.posterior is None else restrict_to_tags(probabilities, inputs.posterior)


def posterior_activations(
    inputs: Inputs, classifier: Classifier, posterior: Array, minimum: float
) -> NDArray[np.float16]:
    """Return normalised activation maps, float16 (N, C, h, w) in 0..1, zero for classes below the minimum posterior."""
    maps = []
    for index, present in enumerate(posterior >= max(minimum, 1e-6)):
        maps.append(tagged_activation(inputs, classifier, index, present).astype(np.float16))
        inputs.progress("activation maps", index + 1, len(posterior))
    return np.stack(maps)
