"""What `predict` runs on pixels where a segmenter was distilled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from igcam.commands.predicting.predictor import Prediction, in_whole_batches, scaled
from igcam.methods.features import views_of
from igcam.models.devices import usual_device
from igcam.models.segmenter import Segmenter
from igcam.models.views import View, pixels_of_views
from igcam.runs.segmenter_file import read_segmenter


@dataclass(frozen=True)
class SegmenterPredictor:
    """A segmenter, ready to predict; a `Predictor`."""

    classes: tuple[str, ...]
    """Names, in the order of their mask ids from 1."""
    segmenter: Segmenter
    """In evaluation mode."""
    views: tuple[View, ...]
    """How an image is put before it; logits are averaged over them."""
    batch_size: int = 8
    """Images a forward pass."""

    @classmethod
    def open(cls, folder: str | Path, batch_size: int = 8, flip: bool | None = None) -> SegmenterPredictor:
        """Load a segmenter, onto a GPU where there is one.

        Args:
            folder: What `distill` returned: RUN/segmenter, or its `out`.
            batch_size: Images a forward pass.
            flip: Whether the mirrored view is averaged in; None does as the run.

        Raises:
            IgcamError: There is none, or its files are damaged.
        """
        segmenter, facts = read_segmenter(folder)
        segmenter.to(usual_device())
        segmenter.to(memory_format=torch.channels_last)
        views = views_of(facts.size, facts.flip if flip is None else flip)
        return cls(facts.classes, segmenter, views, batch_size)

    def at(self, scale: float) -> SegmenterPredictor:
        """Return the same at another scale: images are squashed to a square of the segmenter's size times `scale`."""
        return replace(self, views=scaled(self.views, scale))

    def predict(self, images: Sequence[NDArray[np.uint8]]) -> list[Prediction]:
        """Return one prediction an image; see `Predictor`."""
        return in_whole_batches(self._predict_batch, images, self.batch_size)

    @torch.inference_mode()
    def _predict_batch(self, images: Sequence[NDArray[np.uint8]]) -> list[Prediction]:
        found = []
        pixels = pixels_of_views(images, self.views, self.segmenter.encoder.mean.device)
        for view, batch in zip(self.views, pixels, strict=True):
            maps = self.segmenter.predict(batch)
            found.append([layer.flip(-1) if view.flip else layer for layer in maps])
        logits, deep = (torch.stack(layers).mean(dim=0) for layers in zip(*found, strict=True))
        scores = torch.softmax(logits, dim=1)
        return [Prediction(*item) for item in zip(scores.cpu().numpy(), deep.cpu().numpy(), strict=True)]
