"""Guidance: object proposals and cues become coverage targets with trust."""

from igcam.guidance.normalised_cut import NormalisedCutOptions, normalised_cut
from igcam.guidance.places import PlaceOptions, border_distance, place_affinity, spread
from igcam.guidance.proposals import ProposalOptions, object_coverage
from igcam.guidance.targets import Target, from_activation, from_mask, restrict_to_tags

__all__ = [
    "NormalisedCutOptions",
    "PlaceOptions",
    "ProposalOptions",
    "Target",
    "border_distance",
    "from_activation",
    "from_mask",
    "normalised_cut",
    "object_coverage",
    "place_affinity",
    "restrict_to_tags",
    "spread",
]
