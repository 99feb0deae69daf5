"""The tag prior: which classes are in a photo that has no tags."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from igcam.core.errors import IgcamError
from igcam.methods.base import AllImages, Artefacts, Work
from igcam.methods.inputs import Inputs
from igcam.models.image_prior import ImagePrior, Tagger, fit_tagger

Opened = Callable[[Work], Inputs]
"""Gives the inputs of a stage, with or without the tag posterior."""


def plain_inputs(work: Work) -> Inputs:
    """Return the inputs with the tags as they are given."""
    return work.inputs


class TagPrior(AllImages):
    """Trains a linear head that predicts the tags of photos that come without."""

    name = "tagger"
    title = "Tag prior"
    about = "a linear head predicts the tags of photos that have none"
    reads: tuple[str, ...] = ("features/pooled",)
    leaves = ("tagger",)
    data = ("tags",)

    def __init__(self, inputs: Opened = plain_inputs, reads: tuple[str, ...] = ()) -> None:
        """Take the inputs to train on, and the further artefacts that they read."""
        self._inputs, self.reads = inputs, (*self.reads, *reads)

    def run(self, work: Work) -> Mapping[str, object]:
        """Fit the head to the pooled features."""
        inputs = self._inputs(work)
        work.leave("tagger/tagger", fit_tagger(inputs.pooled, inputs.allowed, inputs.seed).state_dict())
        return {}


def open_image_prior(artefacts: Artefacts, classes: int, weight: float, object_weight: float = 0.0) -> ImagePrior:
    """Load the tag prior, and the object prior where it has a weight.

    Raises:
        IgcamError: A file is missing or damaged, or is of another number of classes than the run.
    """
    tagger = artefacts.load("tagger/tagger", Tagger.from_tensors)
    if len(tagger.bias) != classes:
        raise IgcamError(f"{artefacts.file('tagger/tagger')}: is of {len(tagger.bias)} classes, the run of {classes}")
    objects = artefacts.load("objects/tagger", Tagger.from_tensors) if object_weight > 0 else None
    return ImagePrior(tagger, weight, objects, object_weight)
