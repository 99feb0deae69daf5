"""The options of a run."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import field
from typing import TYPE_CHECKING, Annotated, Any

from igcam.core.validation import Count, NonNegative, Seed, between, one_of, options
from igcam.methods.base import Method, MethodOptions, Refinement, Stage
from igcam.methods.registry import method_of
from igcam.methods.training.finetuning import FinetuneOptions
from igcam.models.backbone import BackboneOptions
from igcam.refine.crf import CRF_PRESETS

if TYPE_CHECKING:
    MethodChoice = MethodOptions | str
else:
    MethodChoice = MethodOptions


@options
class FitOptions:
    """Everything that decides the outcome of a run, besides the data.

    >>> options = igcam.FitOptions(method="cam", size=256)
    >>> options.mask_stages
    ('cam',)
    """

    method: MethodChoice = "igcam"
    """Options of the method, or its name for its defaults."""
    regime: Annotated[str, one_of(("frozen", "finetune"))] = "frozen"
    """`frozen`: the backbone stays as it is; `finetune`: it is trained on the tags first."""
    backbone: BackboneOptions = field(default_factory=lambda: BackboneOptions(levels=(-2, -1)))
    """Network, weights, output stride and levels; the last level classifies, all of them feed the head."""
    size: Annotated[int, between(32, 4096)] = 384
    """Side of the square that photos are resized to for the network."""
    flip: bool = True
    """Use the mirrored view too."""
    components: tuple[Count, ...] = (128, 256)
    """Principal components kept of each level, for the segmentation head."""
    grouping_level: int = -1
    """Which of the backbone's levels is grouped into proposals, by its index among them: the last suits a network
    trained on many classes, an inner one a network trained on the tags alone."""
    tag_prior: NonNegative | None = None
    """Without tags, the weight of the tag prior of the whole photo: 0 predicts every location by itself; null takes 1,
    or 0.5 in the finetune regime, whose network is overconfident on what it was trained on."""
    object_prior: NonNegative | None = None
    """Without tags, the weight of the class of all similar locations, for locations of objects; null takes 1, or 0 in
    the finetune regime."""
    finetune: FinetuneOptions = field(default_factory=FinetuneOptions)
    """Training of the backbone in the finetune regime."""
    without: tuple[str, ...] = ()
    """Optional stages that are switched off."""
    crf: Annotated[str, one_of(CRF_PRESETS)] = "afa"
    """Preset of the dense CRF, see `igcam.refine.CRF_PRESETS`."""
    crf_side: Annotated[int, between(0, 1 << 20)] = 0
    """Longer side in pixels of the photos that the preset's widths are for; for other photos they are scaled. 0 takes
    the widths as they are."""
    seed: Seed = 0
    """Seeds all that is random."""

    def __post_init__(self) -> None:
        levels = len(self.backbone.levels)
        if len(set(self.backbone.levels)) < levels:
            raise ValueError(f"backbone.levels must differ, got {list(self.backbone.levels)}")
        if len(self.components) != levels:
            given = len(self.components)
            raise ValueError(f"components must have one number for each of the {levels} backbone.levels, got {given}")
        if not -levels <= self.grouping_level < levels:
            given = self.grouping_level
            raise ValueError(f"grouping_level must be the index of one of the {levels} levels, got {given}")
        declared = self._declared()
        names = [stage.name for stage in declared]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"method: has two different stages of one name: {', '.join(twice)}")
        optional = [stage.name for stage in declared if stage.optional]
        wrong = [name for name in self.without if name not in optional]
        if wrong:
            rule = f"must be one of {', '.join(optional)}" if optional else "must be left out: no stage is optional"
            raise ValueError(f"without {rule}, got {', '.join(wrong)}")

    def _declared(self) -> Sequence[Stage]:
        return self.entry.stages(self.chosen, self)

    @property
    def chosen(self) -> Any:
        """Options of the method."""
        return self.method

    @property
    def entry(self) -> Method[Any]:
        """The method whose options `method` holds."""
        return method_of(self.chosen)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages that run, in order."""
        return tuple(stage for stage in self._declared() if stage.name not in self.without)

    @property
    def mask_stages(self) -> tuple[str, ...]:
        """Names of the stages after which masks are written, in order."""
        return tuple(stage.name for stage in self.stages if stage.scores or isinstance(stage, Refinement))

    @property
    def refinements(self) -> tuple[Refinement, ...]:
        """The refinements of masks that run, in order."""
        return tuple(stage for stage in self.stages if isinstance(stage, Refinement))

    def leave_out(self, stages: Sequence[str]) -> FitOptions:
        """Return the options with optional stages switched off; IgcamError for other stages."""
        return dataclasses.replace(self, without=tuple(dict.fromkeys((*self.without, *stages))))

    @property
    def tag_prior_weight(self) -> float:
        """Weight of the tag prior of the whole photo where there are no tags."""
        if self.tag_prior is not None:
            return self.tag_prior
        return 0.5 if self.regime == "finetune" else 1.0

    @property
    def object_prior_weight(self) -> float:
        """Weight of the class of all similar locations where there are no tags."""
        if self.object_prior is not None:
            return self.object_prior
        return 0.0 if self.regime == "finetune" else 1.0
