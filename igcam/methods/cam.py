"""Plain class activation maps: the method that everything else is measured against."""

from __future__ import annotations

from dataclasses import dataclass, field

from igcam.methods.background import BackgroundOptions
from igcam.methods.classify import ClassifyOptions


@dataclass(frozen=True)
class CamOptions:
    """Zhou et al., "Learning deep features for discriminative localization", CVPR 2016."""

    classify: ClassifyOptions = field(default_factory=ClassifyOptions)
    """The linear head."""
    background: BackgroundOptions = field(default_factory=BackgroundOptions)
    """How the background is told from the classes."""
    crf: bool = False
    """Refine with a dense CRF."""
