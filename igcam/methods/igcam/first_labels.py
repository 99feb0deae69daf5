"""First targets: activation maps, proposals and cues joined to how probable every class is at each place."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from igcam.core.errors import IgcamError, check_ranges
from igcam.core.parallel import in_parallel
from igcam.methods.igcam.condition import place_affinity
from igcam.methods.igcam.foreground import ForegroundOptions, learn_foreground
from igcam.methods.inputs import Inputs
from igcam.proposals.boundary_prior import spread
from igcam.proposals.kinds import KINDS
from igcam.proposals.objectness import EvidenceOptions, Gathered, covered, gather
from igcam.refine.dense_affinity import DenseAffinityOptions
from igcam.refine.stack import resized
from igcam.supervision.boxes import within_boxes
from igcam.supervision.constraints import Evidence, replace_by_mask
from igcam.supervision.marks import MarkOptions, reached
from igcam.supervision.pseudo_labels import from_activation

Array = NDArray[np.float32]


@dataclass(frozen=True)
class CoverageOptions:
    """Which segments count as objects, and how they join with the maps."""

    evidence: EvidenceOptions = field(default_factory=EvidenceOptions)
    """Which segments are objects, for an activation map."""
    places: DenseAffinityOptions = field(default_factory=DenseAffinityOptions)
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
    spread: Array
    """float32 (C, h, w): it, over alike places."""
    gathered: Gathered
    """Evidence; its segments are those of `packed`."""
    packed: NDArray[np.uint8]
    """The segments, bit by bit along their rows, as those of all images are kept."""

    def opened(self) -> Gathered:
        """Return the evidence with the segments."""
        bits = np.unpackbits(self.packed, axis=2, count=self.gathered.distance.shape[1])
        return replace(self.gathered, segments=bits.astype(bool))


def first_targets(
    inputs: Inputs, activations: NDArray[np.floating], options: CoverageOptions, marks: MarkOptions
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
    again = options.foreground.share > 0 and options.evidence.segment_share > 0

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
    inputs: Inputs, activation: Array, index: int, proposed: int, options: CoverageOptions, marks: MarkOptions
) -> _Piece | None:
    """Return what speaks for objects in an image, with the segments of the image `proposed`.

    None where a mask says all, or nothing points at an object.
    """
    evidence = inputs.evidence(index)
    if evidence is not None and evidence.whole:
        return None
    if evidence is not None:
        activation = _pointed_at(inputs, index, activation, evidence, marks)
    if not activation.any():
        return None
    feature = inputs.grouping(proposed)
    height, width = feature.shape[1:]
    strongest = resized(activation.max(axis=0)[None], height, width)[0]
    further = inputs.proposals(proposed, feature) if options.evidence.segment_share > 0 else None
    gathered = gather(inputs.image(proposed, height), feature, strongest, options.evidence, further)
    wide = spread(place_affinity(inputs, index, options.places), activation)
    packed = np.packbits(gathered.segments, axis=2)
    return _Piece(activation, wide, replace(gathered, segments=gathered.segments[:0]), packed)


def _settled(inputs: Inputs, activation: Array, index: int) -> Array:
    """Return the target of an image whose mask was given, or that is all background as nothing points at an object."""
    evidence = inputs.evidence(index)
    if evidence is None or not evidence.whole:
        return from_activation(np.zeros_like(activation), activation[0])
    # Where the mask does not know, nothing will be learnt.
    return replace_by_mask(from_activation(activation, activation.max(axis=0)), evidence)


def _target(inputs: Inputs, piece: _Piece, options: CoverageOptions, foreground: Array | None = None) -> Array:
    """Return the target of one image with segments, scored by what the foreground model says where that is given."""
    gathered = piece.opened()
    if foreground is not None:
        foreground = resized(foreground[None], *gathered.distance.shape)[0]
    found = covered(gathered, options.evidence, foreground, options.foreground.share)
    coverage = inputs.at_map_size(found[None])[0]
    return from_activation(piece.activation, coverage, spread=piece.spread, level=options.foreground_level)


def _pointed_at(inputs: Inputs, index: int, activation: Array, evidence: Evidence, marks: MarkOptions) -> Array:
    """Return the activation within the boxes, each to its own maximum, and at least what the marks reach."""
    activation = within_boxes(activation, evidence.boxes)
    if evidence.marks:
        affinity = place_affinity(inputs, index, marks.places)
        reach = reached(affinity, evidence.marks, len(activation) + 1, marks.restart)[1:]
        reach /= np.maximum(reach.max(axis=1, keepdims=True), 1e-6)
        activation = np.maximum(activation, reach.reshape(activation.shape))
    return activation
