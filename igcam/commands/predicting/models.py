"""The networks of a run, from images to scores."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from igcam.core.errors import IgcamError
from igcam.core.parallel import usual_device
from igcam.methods.base import Model
from igcam.methods.features import views_of
from igcam.methods.network import open_backbone
from igcam.models.backbone import Backbone
from igcam.models.segmenter import Segmenter
from igcam.models.views import View, filled_up, mean_over_views, pixels_of_views
from igcam.refine.stack import resized
from igcam.runs.artefacts import RunArtefacts, open_model
from igcam.runs.folder import RunFolder
from igcam.runs.segmenter_file import DESCRIPTION, read_segmenter

Array = NDArray[np.float32]
Image = NDArray[np.uint8]

MODELS = ("head", "segmenter")
"""What a run can predict with."""


@dataclass(frozen=True)
class Prediction:
    """Scores and features of one image."""

    scores: Array
    """float32 (C + 1, h, w), not negative, background first, on any grid over the whole image."""
    features: Array | None
    """float32 (D, h', w') for boundary refinement, on any grid over the whole image; None refines by colour."""


@dataclass(frozen=True, kw_only=True)
class Predictor(ABC):
    """A network that predicts classes without tags."""

    classes: tuple[str, ...]
    """Names, in the order of their mask ids from 1."""
    views: tuple[View, ...]
    """Views of an image at scale 1; logits are averaged over them."""
    scales: tuple[float, ...] = (1.0,)
    """Factors of the views' size; probabilities are averaged over them, features are those of the first."""
    batch_size: int = 8
    """Images a forward pass."""

    def at(self, *scales: float) -> Self:
        """Return the same predictor at other scales."""
        return replace(self, scales=scales)

    def predict(self, images: Sequence[Image]) -> list[Prediction]:
        """Return one prediction an image; its scores sum to one at each location.

        Args:
            images: uint8 (H, W, 3), RGB, upright, each of its own size.
        """
        every = [self._at_scale(images, scaled(self.views, scale)) for scale in self.scales]
        return [mean_over_scales(predictions) for predictions in zip(*every, strict=True)]

    def _at_scale(self, images: Sequence[Image], views: Sequence[View]) -> list[Prediction]:
        found: list[Prediction] = []
        for start in range(0, len(images), self.batch_size):
            batch = images[start : start + self.batch_size]
            pixels = pixels_of_views(filled_up(batch, self.batch_size), views, usual_device())
            with torch.inference_mode():
                outcome = self._forward(pixels, [view.flip for view in views])
            found += [Prediction(*item) for item in zip(*outcome, strict=True)][: len(batch)]
        return found

    @abstractmethod
    def _forward(self, pixels: Iterator[Tensor], flips: Sequence[bool]) -> tuple[Array, Array]:
        """Return scores, float32 (N, C + 1, h, w), and features, float32 (N, D, h', w'), of the views of a batch."""


@dataclass(frozen=True, kw_only=True)
class HeadPredictor(Predictor):
    """The backbone and the heads of a run: `label` without tags, in full precision."""

    backbone: Backbone
    trained: Model

    @classmethod
    def open(cls, run: RunFolder, batch_size: int = 8, flip: bool | None = None) -> HeadPredictor:
        """Load a finished run, onto a GPU where there is one; a `flip` of None does as the run.

        Raises:
            IgcamError: The run is not finished, or its files are damaged.
        """
        options, device, trained = run.options, usual_device(), open_model(run)
        return cls(
            classes=run.classes,
            views=views_of(options.size, options.flip if flip is None else flip),
            batch_size=batch_size,
            backbone=open_backbone(RunArtefacts(run), options).to(device),
            trained=trained.to(device),
        )

    def _forward(self, pixels: Iterator[Tensor], flips: Sequence[bool]) -> tuple[Array, Array]:
        scores, features = self.trained.scores([self.backbone(view) for view in pixels], flips, None)
        # Scores of a plain CAM do not sum to one; a location without any class is background.
        scores[:, 0] += scores.sum(axis=1) == 0
        scores /= scores.sum(axis=1, keepdims=True)
        return scores, features


@dataclass(frozen=True, kw_only=True)
class SegmenterPredictor(Predictor):
    """A distilled segmenter."""

    segmenter: Segmenter
    """In evaluation mode."""

    @classmethod
    def open(cls, folder: str | Path, batch_size: int = 8, flip: bool | None = None) -> SegmenterPredictor:
        """Load a folder that `distill` has written, onto a GPU where there is one; a `flip` of None does as the run.

        Raises:
            IgcamError: There is no segmenter, or its files are damaged.
        """
        segmenter, facts = read_segmenter(folder)
        segmenter.to(usual_device()).to(memory_format=torch.channels_last)
        views = views_of(facts.size, facts.flip if flip is None else flip)
        return cls(classes=facts.classes, views=views, batch_size=batch_size, segmenter=segmenter)

    def _forward(self, pixels: Iterator[Tensor], flips: Sequence[bool]) -> tuple[Array, Array]:
        maps = zip(*(self.segmenter.predict(view) for view in pixels), strict=True)
        logits, features = (mean_over_views(views, flips) for views in maps)
        return torch.softmax(logits, dim=1).cpu().numpy(), features.cpu().numpy()


def chosen_model(run: RunFolder, model: str | None) -> str:
    """Return one of `MODELS`, by default the segmenter where the run has one; IgcamError for other names."""
    if model is None:
        return "segmenter" if run.file("segmenter", DESCRIPTION).is_file() else "head"
    if model not in MODELS:
        raise IgcamError(f"model must be one of {', '.join(MODELS)}, got {model}")
    return model


def scaled(views: Sequence[View], scale: float) -> tuple[View, ...]:
    """Return views whose side is multiplied by `scale`."""
    return tuple(View(max(1, round(view.size * scale)), view.flip) for view in views)


def mean_over_scales(predictions: Sequence[Prediction]) -> Prediction:
    """Return the mean of the scores on the finest of their grids, with the features of the first."""
    if len(predictions) == 1:
        return predictions[0]
    height, width = (max(one.scores.shape[axis] for one in predictions) for axis in (1, 2))
    scores = np.mean([resized(one.scores, height, width) for one in predictions], axis=0)
    return Prediction(scores, predictions[0].features)
