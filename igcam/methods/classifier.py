"""Stage `classify`: a linear head on average-pooled features, trained on the tags."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from igcam.cams import class_activation_maps, normalise
from igcam.core.files import weight_and_bias
from igcam.core.validation import Positives, between, options
from igcam.methods.base import AllImages, Work
from igcam.methods.inputs import Inputs
from igcam.models.linear_head import LinearHead, best_penalty, feature_scale, fit_linear_head

Array = NDArray[np.float32]


@options
class ClassifyOptions:
    """How the linear head is fitted."""

    penalties: Positives = (0.1, 0.03, 0.01, 0.003, 0.001)
    """L2 penalties to choose from by the out-of-fold tag loss; features are scaled to a mean square norm of
    one hundred. One value is taken as it is."""
    folds: Annotated[int, between(2)] = 5
    """Folds of that choice."""


@dataclass(frozen=True)
class Classifier:
    """A fitted head with the scale of the features that it was fitted on."""

    head: LinearHead
    """On features times `scale`."""
    scale: float
    """Factor of the pooled features."""

    def activation_maps(self, feature: Array) -> Array:
        """Return raw maps w_c . f(u), float32 (C, h, w), of a feature (D, h, w), without bias (Zhou et al., 2016)."""
        weight = torch.from_numpy((self.head.weight * self.scale).astype(np.float32))
        maps: Array = class_activation_maps(torch.from_numpy(feature)[None], weight, relu=False)[0].numpy()
        return maps

    def tensors(self) -> dict[str, Tensor]:
        """Return the state, for a safetensors file."""
        head = self.head
        facts = [head.l2, head.gradient_norm, float(head.newton_steps), self.scale]
        return {
            "weight": torch.from_numpy(np.ascontiguousarray(head.weight)),
            "bias": torch.from_numpy(np.ascontiguousarray(head.bias)),
            "l2_gradient_steps_scale": torch.tensor(facts, dtype=torch.float64),
        }

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> Classifier:
        """Undo `tensors`; KeyError if one is missing, ValueError if they do not fit each other."""
        weight, bias = weight_and_bias(tensors)
        l2, gradient_norm, steps, scale = tensors["l2_gradient_steps_scale"].tolist()
        return cls(LinearHead(weight.numpy(), bias.numpy(), l2, gradient_norm, int(steps)), scale)


class Classify(AllImages):
    """Trains the linear head to its optimum."""

    name = "classify"
    title = "Classifier"
    about = "a linear head learns the tags from pooled features"
    reads = ("features/pooled",)
    leaves = ("head",)
    data = ("tags",)
    options: ClassifyOptions

    def __init__(self, options: ClassifyOptions) -> None:
        self.options = options

    def run(self, work: Work) -> Mapping[str, object]:
        """Choose the penalty by held-out tags, and fit."""
        classifier = classify(work.inputs, self.options)
        work.leave("classify/head", classifier.tensors())
        return {"penalty": classifier.head.l2}


def classify(inputs: Inputs, options: ClassifyOptions) -> Classifier:
    """Fit the head to its optimum, with the penalty that predicts held-out tags best."""
    pooled = inputs.pooled.astype(np.float64)
    scale = feature_scale(pooled)
    features = pooled * scale
    penalty = best_penalty(features, inputs.tags, options.penalties, options.folds, inputs.seed, inputs.progress)
    return Classifier(fit_linear_head(features, inputs.tags, penalty), scale)


def tagged_activation(inputs: Inputs, classifier: Classifier, index: int, tags: NDArray[np.generic]) -> Array:
    """Return the normalised activation maps of an image, float32 (C, h, w) in 0..1, zero where `tags` (C,) are 0."""
    maps = torch.from_numpy(classifier.activation_maps(inputs.last_level(index)))
    kept: Array = (normalise(maps) * torch.from_numpy(np.asarray(tags, np.float32))[:, None, None]).numpy()
    return kept
