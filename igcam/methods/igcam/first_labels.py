"""First targets: activation maps, proposals and cues joined to how probable every class is at each place."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from igcam.core.errors import IgcamError, check_ranges
from igcam.core.parallel import in_parallel
from igcam.methods.igcam.condition import location_affinity
from igcam.methods.igcam.foreground import ForegroundOptions, learn_foreground
from igcam.methods.inputs import Inputs
from igcam.proposals.boundary_prior import propagate
from igcam.proposals.kinds import KINDS
from igcam.proposals.objectness import Collected, ObjectScoreOptions, collect, object_score
from igcam.refine.affinity import DenseAffinityOptions
from igcam.refine.stack import resized
from igcam.supervision.boxes import within_boxes
from igcam.supervision.constraints import CueConstraint, replace_by_mask
from igcam.supervision.marks import MarkOptions, walk_probability
from igcam.supervision.pseudo_labels import from_activation

Array = NDArray[np.float32]


@dataclass(frozen=True)
class ObjectnessOptions:
    """Which segments count as objects, and how they join with the maps."""

    object_score: ObjectScoreOptions = field(default_factory=ObjectScoreOptions)
    """Which segments are objects, for an activation map."""
    affinity: DenseAffinityOptions = field(default_factory=DenseAffinityOptions)
    """Which places are alike, and so of one class."""
    foreground: ForegroundOptions = field(default_factory=ForegroundOptions)
    """What objects of all images have in common, by which segments are scored again."""
    proposals: tuple[str, ...] = ()
    """Further kinds of proposals, names of `igcam.proposals.kinds.KINDS`, that compete with the clusters of features."""
    foreground_level: float = 0.4
    """Mean of activation and coverage at which a place is as probably an object as not."""
    workers: int = 2
    """Threads."""
    shuffled: bool = False
    """Control: every image takes its proposals from another image."""

    def __post_init__(self) -> None:
        check_ranges(self, foreground_level=(0, 1), workers=(1, 1024))
        unknown = [name for name in self.proposals if name not in KINDS]
        if unknown:
            raise IgcamError(f"proposals must be some of {', '.join(KINDS)}, got {', '.join(unknown)}")


@dataclass(frozen=True)
class _Piece:
    """What is known of one image before any other is looked at."""

    activation: Array
    """float32 (C, h, w), within boxes and raised where marks reach."""
    propagated: Array
    """float32 (C, h, w): it, over alike places."""
    collected: Collected
    """CueConstraint; its segments are those of `packed`."""
    packed: NDArray[np.uint8]
    """The segments, bit by bit along their rows, as those of all images are kept."""

    def opened(self) -> Collected:
        """Return the evidence with the segments."""
        bits = np.unpackbits(self.packed, axis=2, count=self.collected.distance.shape[1])
        return replace(self.collected, segments=bits.astype(bool))


def first_pseudo_labels(
    inputs: Inputs, activations: NDArray[np.floating], options: ObjectnessOptions, marks: MarkOptions
) -> Array:
    """Return how probable every class is at each place, float32 (N, K, h, w).

    Every image is looked at alone first; a foreground model learns from that what objects have in common over all
    images, and the segments are scored again by what it says.

    Args:
        inputs: Features, tags, cues.
        activations: (N, C, h', w') in 0..1 of any size, zero for untagged classes.
        options: See there.
        marks: How far points, scribbles and masks of single objects spread.
    """
    count = len(inputs.tags)
    others = np.roll(np.arange(count), count // 2) if options.shuffled else np.arange(count)

    # Without segments there is nothing that a model could score.
    again = options.foreground.weight > 0 and options.object_score.segment_weight > 0

    def begin(index: int) -> tuple[_Piece | None, Array]:
        activation = inputs.at_map_size(activations[index])
        piece = _piece(inputs, activation, index, int(others[index]), options, marks)
        return piece, _settled(inputs, activation, index) if piece is None else _target(inputs, piece, options)

    pieces: dict[int, _Piece] = {}
    targets: list[Array] = []
    for piece, target in in_parallel(begin, range(count), options.workers):
        if piece is not None and again:
            pieces[len(targets)] = piece
        targets.append(target)
        inputs.progress("cut the photos into proposals", len(targets), count)
    if pieces:
        foreground = learn_foreground(inputs, np.stack(targets), options.foreground)
        scored = in_parallel(lambda at: _target(inputs, pieces[at], options, foreground[at]), pieces, options.workers)
        for done, (index, target) in enumerate(zip(pieces, scored, strict=True), start=1):
            targets[index] = target
            inputs.progress("score the proposals over all photos", done, len(pieces))
    return np.stack(targets)


def _piece(
    inputs: Inputs, activation: Array, index: int, proposed: int, options: ObjectnessOptions, marks: MarkOptions
) -> _Piece | None:
    """Return what speaks for objects in an image, with the segments of the image `proposed`.

    None where a mask says all, or nothing points at an object.
    """
    constraint = inputs.constraint(index)
    if constraint is not None and constraint.whole:
        return None
    if constraint is not None:
        activation = _pointed_at(inputs, index, activation, constraint, marks)
    if not activation.any():
        return None
    feature = inputs.grouping(proposed)
    height, width = feature.shape[1:]
    strongest = resized(activation.max(axis=0)[None], height, width)[0]
    further = inputs.proposals(proposed, feature) if options.object_score.segment_weight > 0 else None
    collected = collect(inputs.image(proposed, height), feature, strongest, options.object_score, further)
    wide = propagate(location_affinity(inputs, index, options.affinity), activation)
    packed = np.packbits(collected.segments, axis=2)
    return _Piece(activation, wide, replace(collected, segments=collected.segments[:0]), packed)


def _settled(inputs: Inputs, activation: Array, index: int) -> Array:
    """Return the target of an image whose mask was given, or that is all background as nothing points at an object."""
    constraint = inputs.constraint(index)
    if constraint is None or not constraint.whole:
        return from_activation(np.zeros_like(activation), activation[0])
    # Where the mask does not know, nothing will be learnt.
    return replace_by_mask(from_activation(activation, activation.max(axis=0)), constraint)


def _target(inputs: Inputs, piece: _Piece, options: ObjectnessOptions, foreground: Array | None = None) -> Array:
    """Return the target of one image with segments, scored by what the foreground model says where that is given."""
    collected = piece.opened()
    if foreground is not None:
        foreground = resized(foreground[None], *collected.distance.shape)[0]
    found = object_score(collected, options.object_score, foreground, options.foreground.weight)
    objectness = inputs.at_map_size(found[None])[0]
    return from_activation(piece.activation, objectness, propagated=piece.propagated, level=options.foreground_level)


def _pointed_at(inputs: Inputs, index: int, activation: Array, constraint: CueConstraint, marks: MarkOptions) -> Array:
    """Return the activation within the boxes, each to its own maximum, and at least what the marks reach."""
    activation = within_boxes(activation, constraint.boxes)
    if constraint.marks:
        affinity = location_affinity(inputs, index, marks.affinity)
        walk = walk_probability(affinity, constraint.marks, len(activation) + 1, marks.restart)[1:]
        walk /= np.maximum(walk.max(axis=1, keepdims=True), 1e-6)
        activation = np.maximum(activation, walk.reshape(activation.shape))
    return activation
