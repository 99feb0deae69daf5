"""IG-CAM: instance-guided class activation maps, with its stages and their options.

After arXiv 2509.12496; schedule, losses and parameters are our own, as only the abstract was known to us.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from igcam.methods.background import BackgroundOptions
from igcam.methods.classify import ClassifyOptions
from igcam.methods.igcam.guide import GuideOptions
from igcam.methods.igcam.noisy_tags import NoisyTagOptions
from igcam.methods.igcam.reweight import ReweightOptions
from igcam.refine.pyramid import PyramidOptions

STAGES = ("classify", "guide", "reweight", "sharpen", "crf")
"""In order; all but the first can be switched off."""


@dataclass(frozen=True)
class IgcamOptions:
    """The options of every stage."""

    classify: ClassifyOptions = field(default_factory=ClassifyOptions)
    """Linear head and activation maps."""
    background: BackgroundOptions = field(default_factory=BackgroundOptions)
    """Background of the activation maps; the later stages learn it and need no rule."""
    noisy_tags: NoisyTagOptions = field(default_factory=NoisyTagOptions)
    """Whether tags may be wrong, before anything is learnt from them place by place."""
    guide: GuideOptions = field(default_factory=GuideOptions)
    """Proposals and masks to targets."""
    reweight: ReweightOptions = field(default_factory=ReweightOptions)
    """Influence to weights."""
    sharpen: PyramidOptions = field(default_factory=PyramidOptions)
    """Multi-scale boundary enhancement."""
    stages: tuple[str, ...] = STAGES
    """Those that run."""
