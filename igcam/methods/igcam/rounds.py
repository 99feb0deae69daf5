"""Rounds of self-training: predictions become pseudo labels, and a new head is trained on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from igcam.core.parallel import in_parallel
from igcam.core.validation import Fraction, between, options
from igcam.methods.inputs import Inputs
from igcam.methods.training.head import Curve, HeadOptions, train_head
from igcam.models.segmentation_head import SegmentationHead, predict_all
from igcam.refine.selection import mutual_iou
from igcam.supervision.conditioning import constrain_prediction
from igcam.supervision.mask_targets import mask_weight_factor
from igcam.supervision.pseudo_labels import PseudoLabelOptions, keep_every_tag, restrict_to_tags, update_pseudo_label

Array = NDArray[np.float32]


@options
class RoundOptions:
    """How many rounds there are, and how a head is trained in each."""

    rounds: Annotated[int, between(1, 100)] = 2
    """Largest number of rounds."""
    converged: Fraction = 0.97
    """Rounds end when the masks of two of them have this mean IoU with each other; no ground truth is needed."""
    mask_weight: Annotated[float, between(0, 0.999)] = 0.7
    """Share of the total weight that the given masks have together, 0 to 1, if they are fewer; otherwise the pseudo
    labels of the other images outweigh a few masks."""
    max_mask_weight: Annotated[float, between(1)] = 150.0
    """Largest weight of a location of a given mask for that, relative to a pseudo label of full confidence."""
    disagreement: Fraction = 0.0
    """Share of the confidence that a location loses where the round before predicted something else, 0 to 1."""
    min_share: Fraction = 0.0
    """Share of the locations of an image that each of its tags has in every round, 0 to 1, unless it is improbable
    everywhere."""
    pseudo_labels: PseudoLabelOptions = field(default_factory=PseudoLabelOptions)
    """How predictions become pseudo labels."""
    head: HeadOptions = field(default_factory=HeadOptions)
    """The head that is trained on them."""


@dataclass(frozen=True)
class Guided:
    """What a stage with rounds returns, of its last round."""

    pseudo_labels: NDArray[np.float16]
    """float16 (N, K, h, w): the pseudo labels and masks that the head was trained on."""
    confidence: NDArray[np.float16]
    """float16 (N, h, w): the weight of each location in training."""
    head: SegmentationHead
    """In evaluation mode."""
    probabilities: Array
    """float32 (N, K, h, w): its predictions, in agreement with tags and cues."""
    curve: Curve
    """Mean loss of each epoch, of all rounds."""
    agreement: tuple[float, ...]
    """Mean IoU of the masks predicted in each round with those that it started from."""


def learn(
    inputs: Inputs,
    probabilities: Array,
    options: RoundOptions,
    weights: Array | None = None,
    watch: Callable[[Array], None] | None = None,
) -> Guided:
    """Turn probabilities, float32 (N, K, h, w), into pseudo labels, train a head on them, predict all images, repeat.

    `weights`, float32 (N, h, w), are factors of the confidence of images without a mask; `watch` is called with the
    predictions of every round.
    """
    indices = np.arange(len(inputs.tags))
    masked = inputs.masked
    # Pseudo labels of images with an annotated background are not too small.
    unmarked = 1 - sum(annotated.with_background for annotated in inputs.annotated.values()) / len(inputs.tags)
    head_options = replace(options.head, foreground_bias=options.head.foreground_bias * unmarked)
    constraints = {index: annotated.at(*inputs.map_size) for index, annotated in inputs.annotated.items()}
    before: Array | None = None
    curve: Curve = []
    agreements: list[float] = []
    while True:
        targets, confidence = update_pseudo_labels(inputs, indices, probabilities, options.pseudo_labels)
        if inputs.image_confidence is not None:
            confidence[~masked] *= inputs.image_confidence[~masked, None, None]
        if weights is not None:
            confidence[~masked] *= weights[~masked]
        if before is not None and options.disagreement > 0:
            common = np.minimum(before, probabilities).sum(axis=1)
            confidence[~masked] *= (1 - options.disagreement * (1 - common))[~masked]
        sums = (float(confidence[masked].sum()), float(confidence[~masked].sum()))
        confidence[masked] *= mask_weight_factor(*sums, options.mask_weight, options.max_mask_weight)
        head, losses = train_head(inputs, indices, targets, confidence, head_options)
        predicted = restrict_to_tags(predict_all(head, inputs.reduced, progress=inputs.progress), inputs.allowed)
        for index in map(int, np.flatnonzero(~masked)) if options.min_share else ():
            predicted[index] = keep_every_tag(predicted[index], inputs.tags[index], options.min_share)
        for index, constraint in constraints.items():
            affinity = partial(inputs.location_affinity, index)
            marks = options.pseudo_labels.marks
            predicted[index] = constrain_prediction(predicted[index], constraint, affinity, marks)
        curve += [{**entry, "epoch": len(curve) + position} for position, entry in enumerate(losses, start=1)]
        agreements.append(mutual_iou(probabilities, predicted))
        if watch is not None:
            watch(predicted)
        if len(agreements) == options.rounds or agreements[-1] >= options.converged:
            break
        before, probabilities = probabilities, predicted
    return Guided(targets.astype(np.float16), confidence.astype(np.float16), head, predicted, curve, tuple(agreements))


def update_pseudo_labels(
    inputs: Inputs, indices: NDArray[np.int64], probabilities: Array, options: PseudoLabelOptions
) -> tuple[Array, Array]:
    """Turn predictions for some images, float32 (n, K, h, w), into pseudo labels.

    Returns:
        Pseudo labels, float32 (n, K, h, w), and their confidence, float32 (n, h, w) in 0..1.
    """
    labels = np.empty_like(probabilities)
    confidence = np.empty(probabilities[:, 0].shape, np.float32)

    def update(row: int) -> None:
        index = int(indices[row])
        photo, affinity = partial(inputs.image, index), partial(inputs.location_affinity, index)
        annotated = inputs.annotated.get(index)
        labels[row], confidence[row] = update_pseudo_label(probabilities[row], annotated, photo, affinity, options)

    for done, _ in enumerate(in_parallel(update, range(len(indices)), options.workers)):
        inputs.progress("update the pseudo labels", done + 1, len(indices))
    return labels, confidence
