"""How far every tag is believed, by evidence that has not seen it: wrong tags teach less, missing ones are allowed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from igcam.core.errors import check_ranges
from igcam.influence import shuffled_weights
from igcam.label_quality.tag_scores import AuditOptions, score_tags
from igcam.methods.classify import Classifier, tagged_activations
from igcam.methods.inputs import Inputs
from igcam.supervision.pseudo_labels import restrict_to_tags

Array = NDArray[np.float32]


@dataclass(frozen=True)
class NoisyTagOptions:
    """Whether tags may be wrong."""

    weight: float = 0.0
    """How far evidence decides, 0 to 1: 0 takes the tags as they are, 1 believes each as far as the evidence goes."""
    min_posterior: float = 0.1
    """A class that is not tagged gets an activation map where it is believed at least so far."""
    disputed_weight: float = 0.1
    """Weight of an image one of whose classes is believed by half; it rises to one where all are sure."""
    scores: AuditOptions = field(default_factory=AuditOptions)
    """How it is gathered; its seed is added to that of the run."""
    shuffled: bool = False
    """Control: deal the beliefs out at random, among tagged and among untagged classes."""

    def __post_init__(self) -> None:
        check_ranges(self, weight=(0, 1), min_posterior=(0, 1), disputed_weight=(0, 1))


def tag_posterior(inputs: Inputs, options: NoisyTagOptions) -> Array:
    """Return how probable it is that each class is in each image, float32 (N, C).

    By the odds of the audit (`igcam.label_quality.suspicion.suspicion`): out-of-fold logits of images and places and the tags
    of similar images, calibrated by the rates of wrong and of missing tags that make the table likeliest. Where
    somebody has drawn cues the tags stand.
    """
    count = len(inputs.tags)
    tags = inputs.tags.astype(np.float64)
    given = options.scores
    chosen = replace(given, folds=min(given.folds, count), seed=inputs.seed + given.seed)

    def feature_map(index: int) -> Array:
        inputs.progress("look for wrong tags", index + 1, count)
        return inputs.last_level(index)

    # One reading: a second one is surer of tags that are right, but finds fewer of those that are missing.
    scores = score_tags(inputs.pooled, tags, feature_map, chosen)
    posterior = scores.suspicion(tags).posterior(tags, options.weight).astype(np.float32)
    if options.shuffled:
        posterior = shuffled_weights(posterior, inputs.seed, tags.astype(np.int64))
    annotated = sorted(inputs.annotated)
    posterior[annotated] = inputs.tags[annotated]
    return posterior


def agreement(posterior: Array, minimum: float) -> Array:
    """Return how far the targets of each image count, float32 (N,): min over classes of 1 - (1 - least) 4 b (1 - b).

    Targets of a class that is believed by half are half wrong, whichever it is; those of other images teach it better.
    """
    return np.asarray((1 - (1 - minimum) * 4 * posterior * (1 - posterior)).min(axis=1), np.float32)


def weighted_by_posterior(inputs: Inputs, probabilities: Array) -> Array:
    """Return probabilities (N, C + 1, h, w) in which every class counts as far as it is believed.

    Where the tags are believed anyway they are returned as they are.
    """
    return probabilities if inputs.posterior is None else restrict_to_tags(probabilities, inputs.posterior)


def posterior_activations(
    inputs: Inputs, classifier: Classifier, posterior: Array, minimum: float
) -> NDArray[np.float16]:
    """Return normalised activation maps, float16 (N, C, h, w) in 0..1, zero for classes that are believed less."""
    maps = tagged_activations(inputs, classifier, posterior >= max(minimum, 1e-6))
    return np.stack([classes.astype(np.float16) for classes in maps])
