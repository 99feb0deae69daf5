"""First targets: activation maps, proposals and cues joined to how probable every class is at each place."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from igcam.errors import IgcamError, check_ranges
from igcam.guidance.boxes import within_boxes
from igcam.guidance.evidence import Evidence, replace_by_mask
from igcam.guidance.evidence_coverage import EvidenceOptions, evidence_coverage
from igcam.guidance.kinds import KINDS
from igcam.guidance.marks import MarkOptions, reached
from igcam.guidance.places import spread
from igcam.guidance.targets import from_activation
from igcam.methods.condition import place_affinity
from igcam.methods.inputs import Inputs
from igcam.refine.batch import in_parallel
from igcam.refine.dense_affinity import DenseAffinityOptions
from igcam.refine.stack import resized

Array = NDArray[np.float32]


@dataclass(frozen=True)
class CoverageOptions:
    """Which segments count as objects, and how they join with the maps."""

    evidence: EvidenceOptions = field(default_factory=EvidenceOptions)
    """Which segments are objects, for an activation map."""
    places: DenseAffinityOptions = field(default_factory=DenseAffinityOptions)
    """Which places are alike, and so of one class."""
    proposals: tuple[str, ...] = ()
    """Further kinds of proposals, names of `igcam.guidance.kinds.KINDS`, that compete with the clusters of features."""
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


def first_targets(
    inputs: Inputs, activations: NDArray[np.floating], options: CoverageOptions, marks: MarkOptions
) -> Array:
    """Return how probable every class is at each place, float32 (N, K, h, w), before anything is learnt from places.

    Args:
        inputs: Features, tags, cues.
        activations: (N, C, h', w') in 0..1 of any size, zero for untagged classes.
        options: See there.
        marks: How far points, scribbles and masks of single objects spread.
    """
    count = len(inputs.tags)
    others = np.roll(np.arange(count), count // 2) if options.shuffled else np.arange(count)

    def work(index: int) -> Array:
        activation = inputs.at_map_size(activations[index])
        return _covered(inputs, activation, index, int(others[index]), options, marks)

    targets = []
    for target in in_parallel(work, range(count), options.workers):
        targets.append(target)
        inputs.progress("cut the photos into proposals", len(targets), count)
    return np.stack(targets)


def _covered(
    inputs: Inputs, activation: Array, index: int, proposed: int, options: CoverageOptions, marks: MarkOptions
) -> Array:
    """Return the target of one image; its proposals are those of the image `proposed`, itself but for the control."""
    evidence = inputs.evidence(index)
    if evidence is not None and evidence.whole:
        # Where the mask does not know, nothing will be learnt.
        return replace_by_mask(from_activation(activation, activation.max(axis=0)), evidence)
    affinity = place_affinity(inputs, index, options.places)
    if evidence is not None:
        activation = _pointed_at(inputs, index, activation, evidence, marks)
    if not activation.any():
        return from_activation(activation, activation[0])
    feature = inputs.grouping(proposed)
    height, width = feature.shape[1:]
    strongest = resized(activation.max(axis=0)[None], height, width)[0]
    further = inputs.proposals(proposed, feature) if options.evidence.segment_share > 0 else None
    covered = evidence_coverage(inputs.image(proposed, height), feature, strongest, options.evidence, further)
    coverage = inputs.at_map_size(covered[None])[0]
    return from_activation(activation, coverage, spread=spread(affinity, activation), level=options.foreground_level)


def _pointed_at(inputs: Inputs, index: int, activation: Array, evidence: Evidence, marks: MarkOptions) -> Array:
    """Return the activation within the boxes, each to its own maximum, and at least what the marks reach."""
    activation = within_boxes(activation, evidence.boxes)
    if evidence.marks:
        affinity = place_affinity(inputs, index, marks.places)
        reach = reached(affinity, evidence.marks, len(activation) + 1, marks.restart)[1:]
        reach /= np.maximum(reach.max(axis=1, keepdims=True), 1e-6)
        activation = np.maximum(activation, reach.reshape(activation.shape))
    return activation
