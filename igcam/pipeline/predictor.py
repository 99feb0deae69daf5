"""What `predict` runs on pixels: a protocol, and the head of a run behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from igcam.models.backbone import Backbone
from igcam.models.views import View
from igcam.pipeline.backbone_file import open_backbone
from igcam.pipeline.features import views_of
from igcam.pipeline.learnt import Learnt
from igcam.pipeline.run_folder import RunFolder

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
    learnt: Learnt
    views: tuple[View, ...]
    """How an image is put before the backbone; logits are averaged over them."""
    batch_size: int = 8
    """Images a forward pass; fewer are filled up, as what a network gives can depend on the size of its batch."""

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
        learnt = Learnt.open(run)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        backbone = open_backbone(run, learnt.options).to(device)
        views = views_of(learnt.options.size, learnt.options.flip if flip is None else flip)
        return cls(run.classes, backbone, learnt.to(device), views, batch_size)

    def at(self, scale: float) -> HeadPredictor:
        """Return the same at another scale: images are squashed to a square of the run's size times `scale`."""
        views = tuple(View(max(1, round(view.size * scale)), view.flip) for view in self.views)
        return replace(self, views=views)

    def predict(self, images: Sequence[NDArray[np.uint8]]) -> list[Prediction]:
        """Return one prediction an image; see `Predictor`."""
        predictions: list[Prediction] = []
        for start in range(0, len(images), self.batch_size):
            batch = images[start : start + self.batch_size]
            predictions += self._predict_batch([*batch, *[batch[-1]] * (self.batch_size - len(batch))])[: len(batch)]
        return predictions

    def _predict_batch(self, images: Sequence[NDArray[np.uint8]]) -> list[Prediction]:
        levels = []
        sizes = {view.size for view in self.views}
        squares = {size: torch.from_numpy(np.stack([View(size).apply(image) for image in images])) for size in sizes}
        with torch.inference_mode():
            for view in self.views:
                # Channels stay last in memory, which convolutions prefer.
                batch = squares[view.size].to(self.backbone.mean.device).permute(0, 3, 1, 2).float().div_(255)
                levels.append(self.backbone(batch.flip(-1) if view.flip else batch))
        scores, deep = self.learnt.scores(levels, [view.flip for view in self.views], None)
        # Scores of a plain CAM do not sum to one; what no class claims is background.
        scores[:, 0] += scores.sum(axis=1) == 0
        scores /= scores.sum(axis=1, keepdims=True)
        return [Prediction(*item) for item in zip(scores, deep, strict=True)]
