"""Pseudo labels: from activation maps and object scores, or from predictions of the previous round."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from typing import Annotated

import cv2
import numpy as np
from numpy.typing import NDArray

from igcam.core.validation import Fraction, between, options
from igcam.refine.crf import CRF_PRESETS, CRFParameters, dense_crf
from igcam.refine.stack import margin, resized
from igcam.supervision.conditioning import LocationAffinity, MarkOptions, constrain_prediction
from igcam.supervision.constraints import AnnotatedImage, CueConstraint, constrain, replace_by_mask

Array = NDArray[np.float32]
Photo = Callable[[int], NDArray[np.uint8]]
"""Size -> uint8 (size, size, 3): a photo squashed to a square."""


@options
class PseudoLabelOptions:
    """How predictions become pseudo labels."""

    size: Annotated[int, between(0, 4096)] = 192
    """Side in pixels of the square at which the CRF runs; 0 leaves the CRF out."""
    crf: CRFParameters = field(default_factory=lambda: CRF_PRESETS["irn"])
    """For photos of about 400 pixels; the widths shrink with the size."""
    marks: MarkOptions = field(default_factory=MarkOptions)
    """How far points, scribbles and masks of single objects propagate."""
    min_confidence: Fraction = 0.1
    """Confidence of a location where two classes are equally probable; it grows to one with their margin."""
    workers: Annotated[int, between(1, 1024)] = 2
    """Threads."""


def from_activation(
    activation: NDArray[np.floating],
    objectness: NDArray[np.floating],
    *,
    propagated: NDArray[np.floating] | None = None,
    level: float = 0.4,
    slope: float = 8.0,
) -> Array:
    """Combine activation maps and object scores into class probabilities.

    The foreground probability is sigmoid(slope * (m - level)), where m is the mean of the object score and the
    strongest activation. The classes share it by their squared activations, propagated or not.

    Args:
        activation: Float (C, h, w) in 0..1, zero for untagged classes.
        objectness: Float (h, w) in 0..1: object scores.
        propagated: Float (C, h, w), at least 0: activations propagated along an affinity, which give the class even
            where no map is active; None takes the activations themselves.
        level: Where foreground and background are equally probable.
        slope: Steepness of the sigmoid.

    Returns:
        float32 (C + 1, h, w), background first, summing to one; all background if no map is active.
    """
    tagged = activation.reshape(len(activation), -1).max(axis=1) > 0
    result = np.zeros((len(activation) + 1, *activation.shape[1:]), np.float32)
    if not tagged.any():
        result[0] = 1
        return result
    combined = (activation.max(axis=0) + objectness) / 2
    foreground = 1 / (1 + np.exp(-slope * (combined - level)))
    # Shares stay defined where every map is zero.
    shares = (activation[tagged] + 1e-3) ** 2 if propagated is None else (propagated[tagged] + 1e-6) ** 2
    result[1:][tagged] = foreground * shares / shares.sum(axis=0)
    result[0] = 1 - foreground
    return result


def update_pseudo_label(
    probability: Array,
    annotated: AnnotatedImage | None,
    photo: Photo,
    affinity: LocationAffinity,
    options: PseudoLabelOptions,
) -> tuple[Array, Array]:
    """Turn the prediction for one image into its next pseudo label.

    The prediction is constrained by the cues, snapped to the edges of the photo by a dense CRF, and constrained again.
    A given mask of the whole image is the label itself.

    Args:
        probability: float32 (K, h, w), summing to one over the classes.
        annotated: The cues of the image; None without cues.
        photo: Called with the side of the CRF.
        affinity: Called if the cues have marks.
        options: Of the CRF, the marks and the confidence.

    Returns:
        Pseudo label, float32 (K, h, w), summing to one; and its confidence, float32 (h, w) in 0..1.
    """
    constraint = None if annotated is None else annotated.at(*probability.shape[1:])
    if constraint is not None:
        if constraint.whole:
            return replace_by_mask(probability, constraint), constraint.confidence
        probability = constrain_prediction(probability, constraint, affinity, options.marks)
    if options.size:
        fine = None if annotated is None else annotated.at(options.size, options.size)
        probability = snap(probability, photo(options.size), options.crf.scaled(options.size / 400), fine)
    label = probability if constraint is None else constrain(probability, constraint)
    confidence = options.min_confidence + (1 - options.min_confidence) * margin(probability)
    return label, confidence if constraint is None else np.maximum(confidence, constraint.confidence)


def snap(
    probability: Array, image: NDArray[np.uint8], parameters: CRFParameters, constraint: CueConstraint | None = None
) -> Array:
    """Run the dense CRF over the classes that occur, at the size of the image, uint8 (H, W, 3).

    Probabilities are float32 (K, h, w) and sum to one, before and after. A constraint, on a grid of (H, W) locations,
    is applied before and after the CRF.
    """
    classes, height, width = probability.shape
    present = np.flatnonzero(probability.reshape(classes, -1).max(axis=1) > 0)
    if len(present) < 2:
        return probability
    full = np.zeros((classes, *image.shape[:2]), np.float32)
    full[present] = resized(probability[present], *image.shape[:2])
    if constraint is not None:
        full = constrain(full, constraint)
    full[present] = dense_crf(image, full[present], parameters)
    if constraint is not None:
        full = constrain(full, constraint)
    result = np.zeros_like(probability)
    result[present] = resized(full[present], height, width, cv2.INTER_AREA)
    return result / result.sum(axis=0)


def restrict_to_tags(probability: NDArray[np.floating], tags: NDArray[np.floating]) -> Array:
    """Assign the foreground of an image, float (..., C + 1, h, w) with the background first, to its tagged classes.

    Foreground stays foreground: an animal that looks like a dog, in an image tagged `cow` alone, is a cow rather than
    background. With p_0 for the background, p_c for the classes and t_c in 0..1 for their tags or tag posteriors (...,
    C),

        p'_0 = p_0 / z,    p'_c = (1 - p_0) t_c p_c t_c / sum_k p_k t_k / z,    k = 1..C

    where z makes the sum one; it is one if all tags are 0 or 1. The result is float32, all background without any tag.
    """
    probability = np.asarray(probability, np.float32)
    weight = np.asarray(tags, np.float32)[..., None, None]
    classes = probability[..., 1:, :, :] * weight
    total = classes.sum(axis=-3, keepdims=True)
    # Where untagged classes have all the probability, the tagged ones share equally.
    alike = weight / np.maximum(weight.sum(axis=-3, keepdims=True), np.float32(1e-12))
    shares = np.where(total > 0, classes / np.where(total > 0, total, 1), alike)
    background = probability[..., :1, :, :]
    kept = np.concatenate([background, (1 - background) * shares * weight], axis=-3)
    left = kept.sum(axis=-3, keepdims=True)
    kept[..., :1, :, :] += left == 0
    return (kept / np.where(left == 0, 1, left)).astype(np.float32, copy=False)


def keep_every_tag(probability: NDArray[np.floating], tags: NDArray[np.floating], minimum: float) -> Array:
    """Raise each tagged class until it is the most probable one in a minimum fraction of the locations.

    The odds of the class are multiplied by the smallest factor, the same at all locations, that reaches the fraction.
    Classes that have it already, or would need a factor above 20, are unchanged.

    Args:
        probability: Float (K, h, w), background first, summing to one; returned as float32.
        tags: (K - 1,), 0 or 1.
        minimum: Fraction of the locations that each tagged class is to win, 0 to 1.
    """
    result = np.asarray(probability, np.float32).copy()
    wanted = round(minimum * result[0].size)
    for label in 1 + np.flatnonzero(tags) if wanted else ():
        others = np.delete(result, label, axis=0).max(axis=0)
        factor = np.sort((others / np.maximum(result[label], 1e-12)).ravel())[wanted - 1]
        if 1 <= factor <= 20:
            # Slightly more than a tie, so that the class wins.
            result[label] *= factor * np.float32(1.001)
            result /= result.sum(axis=0)
    return result
