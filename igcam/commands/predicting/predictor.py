"""What `predict` runs on pixels: a protocol, and the head of a run behind it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from igcam.methods.base import Model
from igcam.methods.features import views_of
from igcam.methods.network import open_backbone
from igcam.models.backbone import Backbone
from igcam.models.decoding import filled_up
from igcam.models.devices import usual_device
from igcam.models.views import View, pixels_of_views
from igcam.runs.artefacts import RunArtefacts
from igcam.runs.folder import RunFolder
from igcam.runs.trained import open_model

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Prediction:
    """What is known of one image."""

    scores: Array
    """float32 (C + 1, h, w), background first, summing to one over classes, on any grid that covers the whole image."""
    features: Array | None
    """float32 (D, h', w') for boundary refinement, on any grid that covers the whole image; None goes by colours."""


class Predictor(Protocol):
    """Anything that finds classes in images without their tags."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names, in the order of their mask ids from 1."""
        ...

    def predict(self, images: Sequence[NDArray[np.uint8]]) -> list[Prediction]:
        """Return one prediction an image.

        Args:
            images: uint8 (H, W, 3), RGB, upright, each of its own size.
        """
        ...


@dataclass(frozen=True)
class HeadPredictor:
    """The backbone of a run with the head that it has learnt; what `label` gives without tags."""

    classes: tuple[str, ...]
    backbone: Backbone
    trained: Model
    views: tuple[View, ...]
    """How an image is put before the backbone; logits are averaged over them."""
    batch_size: int = 8
    """Images a forward pass."""

    @classmethod
    def open(cls, run: RunFolder, batch_size: int = 8, flip: bool | None = None) -> HeadPredictor:
        """Load a finished run, onto a GPU where there is one.

        Args:
            run: The run.
            batch_size: Images a forward pass.
            flip: Whether the mirrored view is averaged in; None does as the run.

        Raises:
            IgcamError: The run is not finished, or its files are damaged.
        """
        trained, options = open_model(run), run.options
        device = usual_device()
        backbone = open_backbone(RunArtefacts(run), options).to(device)
        views = views_of(options.size, options.flip if flip is None else flip)
        return cls(run.classes, backbone, trained.to(device), views, batch_size)

    def at(self, scale: float) -> HeadPredictor:
        """Return the same at another scale: images are squashed to a square of the run's size times `scale`."""
        return replace(self, views=scaled(self.views, scale))

    def predict(self, images: Sequence[NDArray[np.uint8]]) -> list[Prediction]:
        """Return one prediction an image; see `Predictor`."""
        return in_whole_batches(self._predict_batch, images, self.batch_size)

    def _predict_batch(self, images: Sequence[NDArray[np.uint8]]) -> list[Prediction]:
        with torch.inference_mode():
            pixels = pixels_of_views(images, self.views, self.backbone.mean.device)
            levels = [self.backbone(batch) for batch in pixels]
        scores, deep = self.trained.scores(levels, [view.flip for view in self.views], None)
        # Scores of a plain CAM do not sum to one; what no class claims is background.
        scores[:, 0] += scores.sum(axis=1) == 0
        scores /= scores.sum(axis=1, keepdims=True)
        return [Prediction(*item) for item in zip(scores, deep, strict=True)]


def scaled(views: Sequence[View], scale: float) -> tuple[View, ...]:
    """Return views of another size."""
    return tuple(View(max(1, round(view.size * scale)), view.flip) for view in views)


def in_whole_batches(
    predict_batch: Callable[[Sequence[NDArray[np.uint8]]], list[Prediction]],
    images: Sequence[NDArray[np.uint8]],
    size: int,
) -> list[Prediction]:
    """Predict images in batches of one size."""
    predictions: list[Prediction] = []
    for start in range(0, len(images), size):
        batch = images[start : start + size]
        predictions += predict_batch(filled_up(batch, size))[: len(batch)]
    return predictions
