"""Plain class activation maps: the method that everything else is measured against."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from igcam.cams import normalise
from igcam.core.validation import options
from igcam.methods.background import BackgroundOptions, tagged_with_background, with_background
from igcam.methods.base import Artefacts, EachImage, Method, MethodOptions, Model, Stage, Work
from igcam.methods.classifier import Classifier, Classify, ClassifyOptions, tagged_activation
from igcam.methods.network import network_stages
from igcam.methods.options import FitOptions
from igcam.methods.refinements import DenseCrf
from igcam.methods.registry import register
from igcam.methods.tag_prior import TagPrior, open_image_prior
from igcam.models.image_prior import ImagePrior
from igcam.models.reduction import Reduction
from igcam.models.views import mean_over_views

Array = NDArray[np.float32]


@options
class CamOptions(MethodOptions):
    """Zhou et al., "Learning deep features for discriminative localization", CVPR 2016."""

    classify: ClassifyOptions = field(default_factory=ClassifyOptions)
    """The linear head."""
    background: BackgroundOptions = field(default_factory=BackgroundOptions)
    """How background and classes are separated."""
    crf: bool = False
    """Refine with a dense CRF."""


class ActivationMaps(EachImage):
    """Class activation maps of the tagged classes, beside a background score."""

    name = "cam"
    title = "Activation maps"
    about = "the weights of the classifier, applied at each location"
    reads = ("classify/head",)
    leaves = ("maps",)
    data = ("tags",)
    scores = "maps"
    options: BackgroundOptions

    def __init__(self, options: BackgroundOptions) -> None:
        self.options = options
        self.threshold_rule = options.words

    def open(self, work: Work) -> Callable[[int], Mapping[str, NDArray[Any]]]:
        """Load the classifier."""
        classifier, inputs = work.load("classify/head", Classifier.from_tensors), work.inputs

        def each(index: int) -> Mapping[str, NDArray[Any]]:
            maps = tagged_activation(inputs, classifier, index, inputs.tags[index])
            return {"maps": with_background(maps, self.options).astype(np.float16)}

        return each


@dataclass(frozen=True)
class MapModel(Model, ABC):
    """What gives activation maps; the tag prior predicts the tags of photos without."""

    background: BackgroundOptions
    reduction: Reduction
    prior: ImagePrior

    @torch.inference_mode()
    def scores(
        self, views: Sequence[Sequence[Tensor]], flips: Sequence[bool], tags: NDArray[np.floating] | None
    ) -> tuple[Array, Array]:
        """Return activation maps beside a background score, and features; see `igcam.methods.base.Model`."""
        deep = mean_over_views([self.reduction(levels)[:, -self.reduction.depth :] for levels in views], flips)
        if tags is None:
            pooled = mean_over_views([levels[-1] for levels in views], flips).mean(dim=(2, 3))
            tags = (self.prior.tagger(pooled) > 0).cpu().numpy().astype(np.float32)
        return self.maps(views, flips, tags), deep.cpu().numpy()

    @abstractmethod
    def maps(self, views: Sequence[Sequence[Tensor]], flips: Sequence[bool], present: NDArray[np.floating]) -> Array:
        """Return the maps of the classes that are present, (N, C) of 0 and 1, beside a background score."""


@dataclass(frozen=True)
class CamModel(MapModel):
    """A classifier that is applied at each location."""

    classifier: Classifier

    def maps(self, views: Sequence[Sequence[Tensor]], flips: Sequence[bool], present: NDArray[np.floating]) -> Array:
        """Return the maps of the last level; see `MapModel`."""
        last = mean_over_views([levels[-1] for levels in views], flips).cpu().numpy()
        raw = np.stack([self.classifier.activation_maps(feature) for feature in last])
        return tagged_with_background(normalise(torch.from_numpy(raw)).numpy(), present, self.background)


@register
class Cam(Method[CamOptions]):
    """Plain class activation maps."""

    name = "cam"
    paper = "Zhou et al., Learning deep features for discriminative localization, CVPR 2016"
    about = "the classifier's weights applied at each location"
    maps = "cam/maps"
    options = CamOptions

    def stages(self, chosen: CamOptions, run: FitOptions) -> Sequence[Stage]:
        """Return features, classifier, maps, tag prior and, if asked, the CRF."""
        first = (*network_stages(run), Classify(chosen.classify), ActivationMaps(chosen.background), TagPrior())
        return (*first, DenseCrf(run.crf, run.crf_side)) if chosen.crf else first

    def model(self, artefacts: Artefacts, chosen: CamOptions, run: FitOptions, classes: int) -> CamModel:
        """Load classifier, reduction and tag prior."""
        return open_cam_model(artefacts, chosen.background, run, classes)


def open_cam_model(artefacts: Artefacts, background: BackgroundOptions, run: FitOptions, classes: int) -> CamModel:
    """Load what a run has trained that has no segmentation head."""
    return CamModel(
        background,
        artefacts.load("features/reduction", Reduction.from_tensors),
        open_image_prior(artefacts, classes, run.tag_prior_weight),
        artefacts.load("classify/head", Classifier.from_tensors),
    )
