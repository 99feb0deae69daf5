"""Stage 2, guide: proposals and masks become coverage targets, and a head learns them across images."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from igcam.errors import check_ranges
from igcam.guidance.normalised_cut import NormalisedCutOptions, normalised_cut
from igcam.guidance.places import border_distance, spread
from igcam.guidance.proposals import ProposalOptions, object_coverage
from igcam.guidance.targets import from_activation
from igcam.methods.head_training import Curve, HeadOptions, predict_all, train_head
from igcam.methods.inputs import Inputs
from igcam.methods.retarget import RetargetOptions, retarget
from igcam.models.segmentation_head import SegmentationHead
from igcam.refine.dense_affinity import DenseAffinityOptions, dense_affinity
from igcam.refine.stack import resized

Array = NDArray[np.float32]


@dataclass(frozen=True)
class GuideOptions:
    """Which segments guide, and how the head learns from them."""

    cut: NormalisedCutOptions = field(default_factory=NormalisedCutOptions)
    """Grouping by the network's features."""
    proposals: ProposalOptions = field(default_factory=ProposalOptions)
    """Choice among the segments."""
    places: DenseAffinityOptions = field(default_factory=DenseAffinityOptions)
    """Which places are alike: objects are less alike to the image's border, and of one class."""
    segment_share: float = 0.5
    """Share of the segments in the coverage, 0 to 1; the rest is distance from the image's border."""
    border_width: float = 0.6
    """Connection to the border at which that distance has fallen to 0.61."""
    foreground_level: float = 0.4
    """Mean of activation and coverage at which a place is as probably an object as not."""
    head: HeadOptions = field(default_factory=HeadOptions)
    """The head that learns the targets."""
    retarget: RetargetOptions = field(default_factory=RetargetOptions)
    """How maps become targets."""
    least_masks: int = 4
    """With fewer whole masks no teacher is trained on them; they only take part with full trust."""
    teacher_share: float = 0.0
    """Share of a teacher, which has learnt from the masks alone, against the proposals, 0 to 1; 0 trains none.
    With 22 masks of real photos the teacher saw too little of the objects, and a half of it cost 10 points."""

    def __post_init__(self) -> None:
        check_ranges(self, least_masks=(1, math.inf), teacher_share=(0, 1))
        check_ranges(self, segment_share=(0, 1), foreground_level=(0, 1), border_width=(1e-3, math.inf))


@dataclass(frozen=True)
class Guided:
    """What a guided stage leaves behind."""

    targets: NDArray[np.float16]
    """float16 (N, K, h, w): what the head was to learn."""
    trust: NDArray[np.float16]
    """float16 (N, h, w)."""
    head: SegmentationHead
    """In evaluation mode."""
    probabilities: Array
    """float32 (N, K, h, w): what it predicts for the images and their tags."""
    curve: Curve
    """Mean loss of each epoch."""


def guide(inputs: Inputs, activations: NDArray[np.floating], options: GuideOptions) -> Guided:
    """Build targets from proposals, activation maps and masks, and train a head on them.

    Images without a mask get the coverage by proposals that the activation maps prefer. Where whole masks
    are given for some images, a teacher trained on these alone predicts the others, and the geometric mean
    of both is their target. Then the CRF snaps the targets to the photos.

    Args:
        inputs: Features, tags, masks.
        activations: (N, C, h', w') in 0..1 of any size, zero for untagged classes.
        options: See there.
    """
    indices = np.arange(len(inputs.tags))
    probabilities = np.stack([_covered(inputs, activations, index, options) for index in range(len(indices))])
    taught = np.array(sorted(inputs.masks), np.int64)
    # Where every image has a mask there is nobody left to teach.
    if options.least_masks <= len(taught) < len(indices) and options.teacher_share > 0:
        targets, trust = with_masks(inputs, probabilities, np.ones(probabilities[:, 0].shape, np.float32))
        teacher, _ = train_head(inputs, taught, targets, trust, options.head)
        probabilities = _geometric_mean(probabilities, predict_all(inputs, teacher, indices), options.teacher_share)
    return learn(inputs, probabilities, options.head, options.retarget)


def learn(
    inputs: Inputs,
    probabilities: Array,
    head_options: HeadOptions,
    retarget_options: RetargetOptions,
    weights: Array | None = None,
) -> Guided:
    """Refine probabilities to targets, set the masks in, train a head and let it predict all images.

    Args:
        inputs: Features, tags, masks.
        probabilities: float32 (N, K, h, w).
        head_options: Size and schedule of the head.
        retarget_options: How probabilities become targets.
        weights: float32 (N, h, w), factors of the trust; None for one.
    """
    indices = np.arange(len(inputs.tags))
    targets, trust = np.empty_like(probabilities), np.empty_like(probabilities[:, 0])
    guessed = np.array([index for index in indices if index not in inputs.masks], np.int64)
    targets[guessed], trust[guessed] = retarget(inputs, guessed, probabilities[guessed], retarget_options)
    if weights is not None:
        trust *= weights
    targets, trust = with_masks(inputs, targets, trust)
    head, curve = train_head(inputs, indices, targets, trust, head_options)
    predicted = predict_all(inputs, head, indices)
    return Guided(targets.astype(np.float16), trust.astype(np.float16), head, predicted, curve)


def with_masks(inputs: Inputs, targets: Array, trust: Array) -> tuple[Array, Array]:
    """Put the targets of given masks in the place of guessed ones."""
    for index, target in inputs.masks.items():
        targets[index], trust[index] = target.probability, target.trust
    return targets, trust


def _covered(inputs: Inputs, activations: NDArray[np.floating], index: int, options: GuideOptions) -> Array:
    activation = inputs.at_map_size(activations[index])
    inputs.progress("cut the photos into proposals", index + 1, len(inputs.tags))
    if index in inputs.masks:
        return inputs.masks[index].probability
    if not activation.any():
        return from_activation(activation, activation[0])
    feature = inputs.grouping(index)
    height, width = feature.shape[1:]
    affinity = dense_affinity(feature, inputs.image(index, height), options.places)
    share = options.segment_share
    coverage = np.zeros(inputs.map_size, np.float32)
    if share > 0:
        cuts = inputs.at_map_size(normalised_cut(feature, options.cut))
        coverage += share * object_coverage(cuts, activation.max(axis=0), options.proposals)
    if share < 1:
        distance = border_distance(affinity, height, width, options.border_width)
        coverage += (1 - share) * inputs.at_map_size(distance[None])[0]
    surroundings = inputs.at_map_size(spread(affinity, resized(activation, height, width)))
    return from_activation(activation, coverage, spread=surroundings, level=options.foreground_level)


def _geometric_mean(first: Array, second: Array, share: float) -> Array:
    joined = np.maximum(first, 1e-6) ** (1 - share) * np.maximum(second, 1e-6) ** share
    # What neither allows, an untagged class, stays out.
    joined *= (first > 0) | (second > 0)
    result: Array = joined / joined.sum(axis=1, keepdims=True)
    return result
