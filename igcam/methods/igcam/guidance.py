"""Stage 2, guide: proposals, activation maps and cues become pseudo labels, and a head is trained on all images."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from igcam.core.parallel import in_parallel
from igcam.core.validation import Fraction, between, options
from igcam.methods.igcam.foreground import ForegroundOptions, learn_foreground
from igcam.methods.igcam.noisy_tags import weighted_by_posterior
from igcam.methods.igcam.rounds import Guided, RoundOptions, learn
from igcam.methods.inputs import Inputs
from igcam.proposals.objectness import Collected, ObjectScoreOptions, collect, object_score
from igcam.proposals.segments import proposal_kinds
from igcam.refine.affinity import DenseAffinityOptions
from igcam.refine.propagation import propagate
from igcam.refine.stack import resized
from igcam.supervision.conditioning import MarkOptions, constrain_activation
from igcam.supervision.constraints import replace_by_mask
from igcam.supervision.pseudo_labels import from_activation

Array = NDArray[np.float32]


@options
class ObjectnessOptions:
    """Which segments are objects, and how object scores and activation maps are combined."""

    object_score: ObjectScoreOptions = field(default_factory=ObjectScoreOptions)
    """The object score of an image, given its activation map."""
    affinity: DenseAffinityOptions = field(default_factory=DenseAffinityOptions)
    """Affinity along which activations propagate to separate the classes of an image."""
    foreground: ForegroundOptions = field(default_factory=ForegroundOptions)
    """The foreground model of all images, by which segments are scored again."""
    proposals: tuple[str, ...] = ()
    """Further kinds of proposals that compete with the feature clusters; names of `proposal_kinds()`."""
    foreground_level: Fraction = 0.4
    """Mean of activation and object score at which foreground and background are equally probable."""
    workers: Annotated[int, between(1, 1024)] = 2
    """Threads."""
    shuffled: bool = False
    """Control: every image takes its proposals from another image."""

    def __post_init__(self) -> None:
        kinds = proposal_kinds() if self.proposals else {}
        if unknown := [name for name in self.proposals if name not in kinds]:
            raise ValueError(f"proposals must be some of {', '.join(kinds)}, got {', '.join(unknown)}")


@dataclass(frozen=True)
class _Scored:
    """An image whose segments are scored; they are kept as bits, as those of all images are in memory at once."""

    activation: Array
    """float32 (C, h, w), in agreement with the cues."""
    propagated: Array
    """float32 (C, h, w): the activation propagated along the affinity."""
    collected: Collected
    """Costs and maps; its segments are those of `bits`."""
    bits: NDArray[np.uint8]
    """The segments, packed along their rows."""

    def pseudo_label(self, options: ObjectnessOptions, foreground: Array | None = None) -> Array:
        """Return the pseudo label, float32 (K, h, w), given the foreground probability (h, w) of the model, if any."""
        height, width = self.collected.distance.shape
        segments = np.unpackbits(self.bits, axis=2, count=width).astype(bool)
        collected = replace(self.collected, segments=segments)
        if foreground is not None:
            foreground = resized(foreground[None], height, width)[0]
        found = object_score(collected, options.object_score, foreground, options.foreground.weight)
        objectness = resized(found[None], *self.activation.shape[1:])[0]
        return from_activation(self.activation, objectness, propagated=self.propagated, level=options.foreground_level)


def first_pseudo_labels(
    inputs: Inputs, activations: NDArray[np.floating], options: ObjectnessOptions, marks: MarkOptions
) -> Array:
    """Return the class probabilities of all locations, float32 (N, K, h, w).

    Every image is first labelled by itself. A foreground model is then trained on these labels of all images, and the
    segments are scored again by its prediction. `activations` are as for `guide`; points, scribbles and masks of single
    objects propagate as `marks` say.
    """
    count = len(inputs.tags)
    others = np.roll(np.arange(count), count // 2) if options.shuffled else np.arange(count)
    segmented = options.object_score.segment_weight > 0

    def begin(index: int) -> tuple[_Scored | None, Array]:
        constraint = inputs.constraint(index)
        activation = inputs.at_map_size(activations[index])
        if constraint is not None and constraint.whole:
            return None, replace_by_mask(from_activation(activation, activation.max(axis=0)), constraint)
        affinity = partial(inputs.location_affinity, index)
        if constraint is not None:
            activation = constrain_activation(activation, constraint, affinity, marks)
        if not activation.any():
            return None, from_activation(activation, activation[0])
        proposed = int(others[index])
        feature = inputs.grouping(proposed)
        photo = inputs.image(proposed, feature.shape[1])
        further = inputs.proposals(proposed, feature) if segmented else None
        collected = collect(photo, feature, activation.max(axis=0), options.object_score, further)
        bits = np.packbits(collected.segments, axis=2)
        collected = replace(collected, segments=collected.segments[:0])
        scored = _Scored(activation, propagate(affinity(options.affinity), activation), collected, bits)
        return scored, scored.pseudo_label(options)

    # Without segments the model has nothing to score.
    again = segmented and options.foreground.weight > 0
    images: dict[int, _Scored] = {}
    labels: list[Array] = []
    for scored, label in in_parallel(begin, range(count), options.workers):
        if scored is not None and again:
            images[len(labels)] = scored
        labels.append(label)
        inputs.progress("cut the photos into proposals", len(labels), count)
    if images:
        foreground = learn_foreground(inputs, np.stack(labels), options.foreground)
        found = in_parallel(
            lambda index: images[index].pseudo_label(options, foreground[index]), images, options.workers
        )
        for done, (index, label) in enumerate(zip(images, found, strict=True), start=1):
            labels[index] = label
            inputs.progress("score the proposals over all photos", done, len(images))
    return np.stack(labels)


@options
class GuideOptions:
    """Which segments guide, and how the head is trained."""

    objectness: ObjectnessOptions = field(default_factory=ObjectnessOptions)
    """From activation maps, proposals and cues to first pseudo labels."""
    learn: RoundOptions = field(default_factory=RoundOptions)
    """The rounds of training on them."""


def guide(inputs: Inputs, activations: NDArray[np.floating], options: GuideOptions) -> Guided:
    """Build pseudo labels from proposals, activation maps and cues, and train a head on them.

    `activations` are (N, C, h', w') in 0..1 of any size, zero for classes without a tag or with a low posterior.
    """
    probabilities = first_pseudo_labels(inputs, activations, options.objectness, options.learn.pseudo_labels.marks)
    probabilities = weighted_by_posterior(inputs, probabilities)
    return learn(inputs, probabilities, options.learn)
