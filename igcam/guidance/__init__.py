"""Guidance: object proposals and cues become coverage targets with trust."""

from igcam.guidance.boxes import touch_sides, within_boxes
from igcam.guidance.evidence import DrawnImage, Evidence, constrain
from igcam.guidance.evidence_coverage import EvidenceOptions, evidence_coverage
from igcam.guidance.marks import MarkOptions, raise_reached, reached, share_by_marks
from igcam.guidance.normalised_cut import NormalisedCutOptions, normalised_cut
from igcam.guidance.places import border_distance, spread
from igcam.guidance.targets import from_activation, restrict_to_tags

__all__ = [
    "DrawnImage",
    "Evidence",
    "EvidenceOptions",
    "MarkOptions",
    "NormalisedCutOptions",
    "border_distance",
    "constrain",
    "evidence_coverage",
    "from_activation",
    "normalised_cut",
    "raise_reached",
    "reached",
    "restrict_to_tags",
    "share_by_marks",
    "spread",
    "touch_sides",
    "within_boxes",
]
