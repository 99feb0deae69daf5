"""Guidance: object proposals and cues become coverage targets with trust."""

from igcam.guidance.normalised_cut import NormalisedCutOptions, normalised_cut
from igcam.guidance.places import border_distance, spread
from igcam.guidance.proposals import ProposalOptions, object_coverage
from igcam.guidance.targets import Target, from_activation, from_mask, restrict_to_tags

__all__ = [
    "NormalisedCutOptions",
    "ProposalOptions",
    "Target",
    "border_distance",
    "from_activation",
    "from_mask",
    "normalised_cut",
    "object_coverage",
    "restrict_to_tags",
    "spread",
]
