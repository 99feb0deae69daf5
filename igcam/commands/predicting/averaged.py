"""The predictor of a run, at one scale or at several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from igcam.commands.predicting.predictor import HeadPredictor, Prediction, Predictor
from igcam.commands.predicting.segmenter import SegmenterPredictor
from igcam.core.errors import IgcamError
from igcam.refine.stack import resized
from igcam.runs.folder import RunFolder
from igcam.runs.segmenter_file import DESCRIPTION

MODELS = ("head", "segmenter")
"""What a run can predict with."""


@dataclass(frozen=True)
class AveragedPredictor:
    """The mean of several predictors of the same classes."""

    predictors: tuple[Predictor, ...]
    """Features for refinement are those of the first."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names, in the order of their mask ids from 1."""
        return self.predictors[0].classes

    def predict(self, images: Sequence[NDArray[np.uint8]]) -> list[Prediction]:
        """Return one prediction an image, on the finest of the grids; see `Predictor`."""
        every = zip(*(predictor.predict(images) for predictor in self.predictors), strict=True)
        return [_mean(predictions) for predictions in every]


def open_predictor(
    run: RunFolder,
    model: str | None = None,
    scales: Sequence[float] = (1.0,),
    flip: bool | None = None,
    batch_size: int = 8,
) -> tuple[str, Predictor]:
    """Return which of the models it is, and the predictor.

    Args:
        run: A finished run.
        model: One of `MODELS`; None takes the segmenter where the run has one.
        scales: Factors of the size at which photos are put before the network; their scores are averaged.
        flip: Whether the mirrored photo is averaged in; None does as the run.
        batch_size: Images a forward pass.

    Raises:
        IgcamError: The run does not have this model, is not finished, or its files are damaged.
    """
    chosen = model or usual_model(run)
    if chosen not in MODELS:
        raise IgcamError(f"model must be one of {', '.join(MODELS)}, got {chosen}")
    predictor: HeadPredictor | SegmenterPredictor
    if chosen == "segmenter":
        predictor = SegmenterPredictor.open(run.file("segmenter"), batch_size, flip)
    else:
        predictor = HeadPredictor.open(run, batch_size, flip)
    scaled: list[Predictor] = [predictor.at(scale) for scale in scales]
    return chosen, scaled[0] if len(scaled) == 1 else AveragedPredictor(tuple(scaled))


def usual_model(run: RunFolder) -> str:
    """Return which of `MODELS` is taken where none is asked for: the segmenter where the run has one."""
    return "segmenter" if run.file("segmenter", DESCRIPTION).is_file() else "head"


def _mean(predictions: Sequence[Prediction]) -> Prediction:
    height, width = (max(one.scores.shape[axis] for one in predictions) for axis in (1, 2))
    scores = np.mean([resized(one.scores, height, width) for one in predictions], axis=0)
    return Prediction(scores, predictions[0].features)
