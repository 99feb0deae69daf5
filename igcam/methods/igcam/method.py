"""IG-CAM: instance-guided class activation mapping, with its stages and their options.

After arXiv 2509.12496; schedule, losses and parameters are our own, as only the abstract was known to us.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from igcam.core.validation import options
from igcam.methods.background import BackgroundOptions
from igcam.methods.base import Artefacts, Method, MethodOptions, Model, Refinement, Stage
from igcam.methods.cam import ActivationMaps, open_cam_model
from igcam.methods.classifier import Classify, ClassifyOptions
from igcam.methods.igcam.guidance import GuideOptions
from igcam.methods.igcam.noisy_tags import NoisyTagOptions
from igcam.methods.igcam.reweighting import ReweightOptions
from igcam.methods.igcam.stages import Guide, NoisyTags, ObjectPrior, Reweight, inputs_with_posterior, reads_of
from igcam.methods.network import network_stages
from igcam.methods.options import FitOptions
from igcam.methods.refinements import DenseCrf, Sharpen
from igcam.methods.registry import method_of, register
from igcam.methods.tag_prior import TagPrior, open_image_prior, plain_inputs
from igcam.models.image_prior import ImagePrior
from igcam.models.reduction import Reduction
from igcam.models.segmentation_head import SegmentationHead
from igcam.models.views import mean_over_views
from igcam.refine.pyramid import PyramidOptions
from igcam.supervision.pseudo_labels import restrict_to_tags

Array = NDArray[np.float32]


@options
class IgcamOptions(MethodOptions):
    """The options of every stage."""

    maps: MethodOptions | None = None
    """Method whose activation maps guide, or its name; null takes plain CAM."""
    classify: ClassifyOptions = field(default_factory=ClassifyOptions)
    """Linear head."""
    background: BackgroundOptions = field(default_factory=BackgroundOptions)
    """Background of the activation maps; later stages learn it as a class and need no rule."""
    noisy_tags: NoisyTagOptions = field(default_factory=NoisyTagOptions)
    """Whether tags may be wrong."""
    guide: GuideOptions = field(default_factory=GuideOptions)
    """Proposals and masks to pseudo labels."""
    reweight: ReweightOptions = field(default_factory=ReweightOptions)
    """Influence to weights."""
    sharpen: PyramidOptions = field(default_factory=PyramidOptions)
    """Multi-scale boundary enhancement."""


@register
class Igcam(Method[IgcamOptions]):
    """Guide, reweight, sharpen, CRF."""

    name = "igcam"
    paper = "after IG-CAM: Instance-Guided Class Activation Mapping, arXiv 2509.12496"
    about = "maps guided by proposals and cues, weighted by influence, sharpened along boundaries"
    cues = ("point", "scribble", "box", "mask")
    options = IgcamOptions

    def stages(self, chosen: IgcamOptions, run: FitOptions) -> Sequence[Stage]:
        """Return the stages; the maps of another method come before the guide stage."""
        noisy = chosen.noisy_tags.weight > 0
        inputs = inputs_with_posterior if noisy else plain_inputs
        stages: list[Stage] = [*network_stages(run), Classify(chosen.classify), ActivationMaps(chosen.background)]
        maps = "cam/maps"
        if noisy:
            stages.append(NoisyTags(chosen.noisy_tags, chosen.classify))
            maps = "noisy_tags/activations"
        stages.append(TagPrior(inputs, reads_of(inputs)))
        if chosen.maps is not None:
            method = method_of(chosen.maps)
            if not method.maps:
                raise ValueError(f"maps: {method.name} has no activation maps")
            # Stages with other options than those of the same name here are told as such by `FitOptions`.
            known = [(stage.name, stage.options) for stage in stages]
            of_maps = [stage for stage in method.stages(chosen.maps, run) if (stage.name, stage.options) not in known]
            stages += [stage for stage in of_maps if not isinstance(stage, Refinement)]
            maps = method.maps
        guide = Guide(chosen.guide, maps, run.grouping_level, inputs)
        before = maps if guide.name in run.without else "guide/maps"
        reweight = Reweight(chosen.reweight, before, run.grouping_level, inputs)
        stages += [guide, reweight]
        last = next((stage for stage in (reweight, guide) if stage.name not in run.without), None)
        if last is not None and run.object_prior_weight > 0:
            stages.append(ObjectPrior(f"{last.name}/maps", inputs))
        return [*stages, Sharpen(chosen.sharpen), DenseCrf(run.crf, run.crf_side)]

    def model(self, artefacts: Artefacts, chosen: IgcamOptions, run: FitOptions, classes: int) -> Model:
        """Load the head of the last stage that trained one; without any, the model of the maps."""
        head = next((stage for stage in ("reweight", "guide") if stage not in run.without), None)
        if head is None and chosen.maps is not None:
            return method_of(chosen.maps).model(artefacts, chosen.maps, run, classes)
        if head is None:
            return open_cam_model(artefacts, chosen.background, run, classes)
        return HeadModel(
            artefacts.load("features/reduction", Reduction.from_tensors),
            artefacts.load(f"{head}/head", SegmentationHead.from_tensors),
            open_image_prior(artefacts, classes, run.tag_prior_weight, run.object_prior_weight),
        )


@dataclass(frozen=True)
class HeadModel(Model):
    """A segmentation head on reduced features; the image prior helps in photos without tags."""

    reduction: Reduction
    head: SegmentationHead
    prior: ImagePrior

    @torch.inference_mode()
    def scores(
        self, views: Sequence[Sequence[Tensor]], flips: Sequence[bool], tags: NDArray[np.floating] | None
    ) -> tuple[Array, Array]:
        """Return probabilities and features; see `igcam.methods.base.Model`."""
        reduced = [self.reduction(levels) for levels in views]
        deep = mean_over_views([layers[:, -self.reduction.depth :] for layers in reduced], flips).cpu().numpy()
        logits = mean_over_views([self.head(layers) for layers in reduced], flips)
        if tags is None:
            logits = self.prior(logits, mean_over_views([levels[-1] for levels in views], flips))
        probability: Array = torch.softmax(logits, dim=1).cpu().numpy()
        return probability if tags is None else restrict_to_tags(probability, np.asarray(tags, np.float32)), deep

    def network(self, backbone: nn.Module) -> nn.Module:
        """Return backbone, reduction, head and image prior as one network."""
        return HeadNetwork(backbone, self)


class HeadNetwork(nn.Module):
    """The backbone of a run and the head that it has trained, as one network."""

    def __init__(self, backbone: nn.Module, model: HeadModel) -> None:
        super().__init__()
        self.backbone, self.reduction, self.head, self.prior = backbone, model.reduction, model.head, model.prior

    def forward(self, images: Tensor) -> Tensor:
        """Return raw logits, float (N, C + 1, h, w), as `label` has them without tags and for one view."""
        levels = self.backbone(images)
        joined: Tensor = self.prior(self.head(self.reduction(levels)), levels[-1])
        return joined
