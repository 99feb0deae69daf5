"""Rounds: predict, make the predictions the next targets, and learn again, without drifting."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from igcam.core.errors import check_ranges
from igcam.label_quality.tag_consistency import keep_every_tag
from igcam.methods.igcam.condition import condition
from igcam.methods.igcam.pseudo_labels import PseudoLabelOptions, update_pseudo_labels
from igcam.methods.inputs import Inputs
from igcam.methods.training.head import Curve, HeadOptions, predict_all, train_head
from igcam.models.segmentation_head import SegmentationHead
from igcam.supervision.mask_weight import mask_weight_factor

Array = NDArray[np.float32]


@dataclass(frozen=True)
class RoundOptions:
    """How many rounds there are, and what is learnt in each."""

    rounds: int = 2
    """Most rounds."""
    converged: float = 0.97
    """No further round once the masks of two rounds have this mean IoU with each other; no truth is needed."""
    mask_weight: float = 0.7
    """Share of all trust that the given masks have together, 0 to 1, if they are fewer; a few masks that are right
    are drowned otherwise."""
    max_mask_weight: float = 150.0
    """How much a place of a given mask counts at most for that, beside one that was guessed with certainty."""
    disagreement: float = 0.0
    """Share of the trust that a place loses where the round before said something else, 0 to 1."""
    min_share: float = 0.0
    """Share of the places of an image that each of its tags has in every round, 0 to 1, unless it is nowhere near."""
    pseudo_labels: PseudoLabelOptions = field(default_factory=PseudoLabelOptions)
    """How predictions become targets."""
    head: HeadOptions = field(default_factory=HeadOptions)
    """The head that learns them."""

    def __post_init__(self) -> None:
        check_ranges(self, rounds=(1, 100), converged=(0, 1), mask_weight=(0, 0.999), max_mask_weight=(1, math.inf))
        check_ranges(self, disagreement=(0, 1), min_share=(0, 1))


@dataclass(frozen=True)
class Guided:
    """What a guided stage leaves behind, of its last round."""

    targets: NDArray[np.float16]
    """float16 (N, K, h, w): what the head was to learn."""
    confidence: NDArray[np.float16]
    """float16 (N, h, w): how much each place counted."""
    head: SegmentationHead
    """In evaluation mode."""
    probabilities: Array
    """float32 (N, K, h, w): what it predicts for the images, their tags and their cues."""
    curve: Curve
    """Mean loss of each epoch, of all rounds."""
    agreement: tuple[float, ...]
    """Mean IoU of the masks of each round with those that it was begun with."""


def learn(
    inputs: Inputs,
    probabilities: Array,
    options: RoundOptions,
    weights: Array | None = None,
    watch: Callable[[Array], None] | None = None,
) -> Guided:
    """Turn probabilities into targets, train a head on them, let it predict all images, and so on.

    Args:
        inputs: Features, tags, cues.
        probabilities: float32 (N, K, h, w).
        options: See there.
        weights: float32 (N, h, w), factors of the trust of images without a whole mask; None for one.
        watch: Called with the predictions of every round.
    """
    indices = np.arange(len(inputs.tags))
    masked = inputs.masked
    head_options = replace(
        options.head, foreground_bias=options.head.foreground_bias * _share_without_background(inputs)
    )
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
            confidence[~masked] *= _kept_confidence(before, probabilities, options.disagreement)[~masked]
        sums = (float(confidence[masked].sum()), float(confidence[~masked].sum()))
        confidence[masked] *= mask_weight_factor(*sums, options.mask_weight, options.max_mask_weight)
        head, losses = train_head(inputs, indices, targets, confidence, head_options)
        predicted = predict_all(inputs, head, indices)
        for index in map(int, np.flatnonzero(~masked)) if options.min_share else ():
            predicted[index] = keep_every_tag(predicted[index], inputs.tags[index], options.min_share)
        for index in inputs.annotated:
            predicted[index] = condition(inputs, index, predicted[index], options.pseudo_labels.marks)
        curve += [{**entry, "epoch": len(curve) + position} for position, entry in enumerate(losses, start=1)]
        agreements.append(mutual_iou(probabilities, predicted))
        if watch is not None:
            watch(predicted)
        if len(agreements) == options.rounds or agreements[-1] >= options.converged:
            break
        before, probabilities = probabilities, predicted
    return Guided(targets.astype(np.float16), confidence.astype(np.float16), head, predicted, curve, tuple(agreements))


def mutual_iou(first: Array, second: Array) -> float:
    """Return the mean IoU of the most probable classes of two stacks (N, K, h, w), over the classes in either."""
    kinds = first.shape[1]
    pairs = first.argmax(axis=1).astype(np.int64) * kinds + second.argmax(axis=1)
    table = np.bincount(pairs.ravel(), minlength=kinds * kinds).reshape(kinds, kinds)
    union = table.sum(axis=0) + table.sum(axis=1) - np.diagonal(table)
    return float((np.diagonal(table)[union > 0] / union[union > 0]).mean())


def _share_without_background(inputs: Inputs) -> float:
    """Return the share of the images whose background nobody has drawn on: targets of the others are not too small."""
    return 1 - sum(annotated.with_background for annotated in inputs.annotated.values()) / len(inputs.tags)


def _kept_confidence(before: Array, now: Array, share: float) -> Array:
    """Return 1 where two predictions are the same, and 1 - share where they have nothing in common."""
    common: Array = np.minimum(before, now).sum(axis=1)
    return 1 - share * (1 - common)
