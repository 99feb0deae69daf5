"""The foreground model: what places of objects have in common over all images, against places that no tag explains."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit

from igcam.core.errors import check_ranges
from igcam.methods.inputs import Inputs
from igcam.models.linear_head import LinearHead, feature_scale, fit_linear_head
from igcam.models.views import mean_over_views
from igcam.supervision.mask_weight import mask_weight_factor

Array = NDArray[np.float32]


@dataclass(frozen=True)
class ForegroundOptions:
    """How far the model has a say, and how it is fitted; chosen on voc-animals train."""

    weight: float = 1.0
    """Share of its answer in the evidence that segments are scored by; the rest is what the image itself says. 0 leaves
    the model out."""
    penalty: float = 0.01
    """L2 penalty; features are scaled to a mean square norm of one hundred."""
    locations: int = 30_000
    """Most places that it is fitted to, drawn from all images alike."""
    mask_weight: float = 0.5
    """Share of all weight that the places of given masks have together, if they are fewer."""

    def __post_init__(self) -> None:
        check_ranges(self, weight=(0, 1), penalty=(1e-12, math.inf), locations=(1, math.inf), mask_weight=(0, 0.999))


def learn_foreground(inputs: Inputs, probabilities: Array, options: ForegroundOptions) -> Array:
    """Return how probable it is that each place is an object of any class, float32 (N, h, w).

    A logistic model of the reduced features of a place, fitted over all images to what the first targets and the cues
    say of them. Wrong parts of single targets, such as the ground below an animal, are not alike from image to image,
    and so are not learnt.

    Args:
        inputs: Features and cues.
        probabilities: float32 (N, K, h, w), background first: first targets, in agreement with the cues.
        options: See there.
    """
    count, _, height, width = probabilities.shape
    views = inputs.reduced
    plain = views[0]
    weight = _weights(inputs, (height, width), options.mask_weight)
    chosen = _chosen(weight.ravel() > 0, options.locations, inputs.seed)
    if not len(chosen):
        return 1 - probabilities[:, 0]
    image, location = np.divmod(chosen, height * width)
    # One image after the other: `reduced` may be mapped from a file.
    features = np.concatenate(
        [plain[index].reshape(plain.shape[1], -1)[:, location[image == index]].T for index in np.unique(image)]
    ).astype(np.float64)
    scale = feature_scale(features)
    target = 1 - probabilities[:, 0].ravel()[chosen].astype(np.float64)
    head = fit_linear_head(
        features * scale, np.clip(target, 0, 1)[:, None], options.penalty, weight.ravel()[chosen].astype(np.float64)
    )
    return np.stack([_predicted(head, scale, [view[index] for view in views[:2]]) for index in range(count)])


def _weights(inputs: Inputs, size: tuple[int, int], share: float) -> Array:
    """Return what each place counts, float32 (N, h, w): one, and for those of masks what gives them their share."""
    masked = inputs.masked
    weight = np.ones((len(masked), *size), np.float32)
    for index in np.flatnonzero(masked):
        constraint = inputs.constraint(int(index))
        if constraint is not None:
            weight[index] = constraint.confidence
    weight[masked] *= mask_weight_factor(float(weight[masked].sum()), float(weight[~masked].sum()), share)
    return weight


def _chosen(counted: NDArray[np.bool_], maximum: int, seed: int) -> NDArray[np.int64]:
    """Draw some of the places that count, in order."""
    locations = np.flatnonzero(counted)
    annotated = np.random.default_rng(seed).choice(locations, min(maximum, len(locations)), replace=False)
    return np.sort(annotated)


def _predicted(head: LinearHead, scale: float, views: list[NDArray[np.float16]]) -> Array:
    """Return the answer for an image, float32 (h, w), logits averaged with those of its mirrored view."""
    depth, height, width = views[0].shape
    logits = [
        torch.from_numpy(head.logits(view.reshape(depth, -1).T.astype(np.float64) * scale).reshape(height, width))
        for view in views
    ]
    return np.asarray(expit(mean_over_views(logits, [False, True][: len(logits)]).numpy()), np.float32)
