"""Plain class activation maps of a network whose tail is trained: the baseline of methods in the regime `tail`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from igcam.cams import normalise
from igcam.core.validation import options
from igcam.losses import multilabel_loss
from igcam.methods.background import BackgroundOptions, tagged_with_background
from igcam.methods.base import AllImages, Artefacts, EachImage, Method, MethodOptions, Stage, Work
from igcam.methods.cam import MapModel
from igcam.methods.network import network_stages, open_backbone
from igcam.methods.options import FitOptions
from igcam.methods.registry import register
from igcam.methods.tag_prior import TagPrior, open_image_prior
from igcam.methods.training.loop import Batch, Loss
from igcam.methods.training.tail import StoredViews, TailOptions, train_tail
from igcam.models.backbone import Backbone
from igcam.models.pooling import get_pooling
from igcam.models.reduction import Reduction
from igcam.models.tail import TailNetwork
from igcam.models.views import mean_over_views

Array = NDArray[np.float32]


@options
class CamTailOptions(MethodOptions):
    """Training of the tail, and the background rule."""

    tail: TailOptions = field(default_factory=TailOptions)
    """Schedule."""
    background: BackgroundOptions = field(default_factory=BackgroundOptions)
    """How the background is told from the classes."""


class TrainTail(AllImages):
    """Trains the last stage and a 1x1 head on the tags."""

    title = "Training"
    about = "trains the last stage of the network on the tags"
    reads = ("features/pooled",)
    leaves = ("network",)
    data = ("photos", "tags")
    regime = "tail"

    def __init__(self, name: str, tail: TailOptions, losses: Sequence[Loss], options: object = None) -> None:
        """Name the stage and what it minimises.

        Args:
            name: Of the stage.
            tail: Schedule.
            losses: See `igcam.methods.training.tail.train_tail`.
            options: Further options that decide on the losses.
        """
        self.name, self.options = name, {"tail": tail, "losses": options}
        self._tail, self._losses = tail, losses

    def run(self, work: Work) -> Mapping[str, object]:
        """Train on all images and views of the bank."""
        network = TailNetwork(work.backbone, len(work.classes))
        examples = StoredViews(work.bank, work.images, work.tags, work.options.seed)
        curve = train_tail(network, examples, self._losses, self._tail, work.progress)
        work.leave(f"{self.name}/network", network.state_dict())
        return {"curve": curve}


class TailMaps(EachImage):
    """Activation maps of the tagged classes, beside a background score."""

    title = "Activation maps"
    about = "logit maps of the trained network, scaled to a maximum of one"
    leaves = ("maps",)
    data = ("photos", "tags")
    scores = "maps"

    def __init__(self, trained: str, background: BackgroundOptions) -> None:
        """Read what a stage `trained` has left."""
        self.name, self.reads = f"{trained}-maps", (f"{trained}/network",)
        self.options, self.threshold_rule = background, background.words
        self._background = background

    def open(self, work: Work) -> Callable[[int], Mapping[str, NDArray[Any]]]:
        """Load the network."""
        network = load_tail(work, self.reads[0], work.backbone, len(work.classes)).to(work.backbone.mean.device)
        bank, flips = work.bank, [view.flip for view in work.bank.views]

        def each(index: int) -> Mapping[str, NDArray[Any]]:
            stored = (bank.read(work.images[index], view)[-2] for view in bank.views)
            views = [
                torch.from_numpy(level.astype(np.float32))[None].to(network.head.weight.device) for level in stored
            ]
            maps = tail_scores(network, views, flips, work.tags[index : index + 1], self._background)
            return {"maps": maps[0].astype(np.float16)}

        return each


def load_tail(artefacts: Artefacts, artefact: str, backbone: Backbone, classes: int) -> TailNetwork:
    """Load a trained tail and head, in evaluation mode.

    Raises:
        IgcamError: The file is missing or damaged, or of another network.
    """

    def parse(tensors: dict[str, Tensor]) -> TailNetwork:
        network = TailNetwork(backbone, classes)
        network.load_state_dict(tensors)
        return network.eval().requires_grad_(False)

    return artefacts.load(artefact, parse)


@torch.inference_mode()
def tail_scores(
    network: TailNetwork,
    views: Sequence[Tensor],
    flips: Sequence[bool],
    present: NDArray[np.generic],
    background: BackgroundOptions,
) -> Array:
    """Return activation maps of the classes that are present beside a background score, float32 (N, C + 1, h, w).

    Args:
        network: In evaluation mode.
        views: Maps of the last but one level, float (N, D, h', w') a view.
        flips: Which views are mirrored.
        present: (N, C) of 0 and 1.
        background: Rule.
    """
    maps = normalise(mean_over_views([network(view) for view in views], flips)).cpu().numpy()
    return tagged_with_background(maps, present, background)


@dataclass(frozen=True)
class TailModel(MapModel):
    """A trained tail and head."""

    tail: TailNetwork

    def maps(self, views: Sequence[Sequence[Tensor]], flips: Sequence[bool], present: NDArray[np.floating]) -> Array:
        """Return the maps of the network; see `MapModel`."""
        return tail_scores(self.tail, [levels[-2] for levels in views], flips, present, self.background)


def tag_loss(pooling: str) -> Loss:
    """Return the multi-label loss of pooled logit maps."""
    pool = get_pooling(pooling)

    def loss(logits: Tensor, batch: Batch) -> Tensor:
        return multilabel_loss(pool(logits), batch.known["tags"])

    return loss


class TailMethod(Method[Any]):
    """A method that trains the last stage of the network; its options have `tail` and `background`."""

    needs = "a ResNet"

    @abstractmethod
    def training(self, chosen: Any) -> TrainTail:
        """Return the stage that trains, named after the method."""

    def stages(self, chosen: Any, run: FitOptions) -> Sequence[Stage]:
        """Return features, training, maps and tag prior."""
        return (*network_stages(run), self.training(chosen), TailMaps(self.name, chosen.background), TagPrior())

    def model(self, artefacts: Artefacts, chosen: Any, run: FitOptions, classes: int) -> TailModel:
        """Load network, reduction and tag prior."""
        return TailModel(
            chosen.background,
            artefacts.load("features/reduction", Reduction.from_tensors),
            open_image_prior(artefacts, classes, run.tag_prior_weight),
            load_tail(artefacts, f"{self.name}/network", open_backbone(artefacts, run), classes),
        )


@register
class CamTail(TailMethod):
    """Plain class activation maps, the last stage trained."""

    name = "cam-tail"
    paper = "Zhou et al., Learning deep features for discriminative localization, CVPR 2016"
    about = "activation maps of a network whose last stage is trained on the tags"
    maps = "cam-tail-maps/maps"
    options = CamTailOptions

    def training(self, chosen: CamTailOptions) -> TrainTail:
        """Minimise the loss of the tags."""
        return TrainTail(self.name, chosen.tail, [tag_loss(chosen.tail.pooling)])
