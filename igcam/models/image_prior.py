"""The image prior: linear heads on means of the features of a photo, whose logits join those of its locations."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from igcam.core.files import weight_and_bias
from igcam.models.linear_head import best_penalty, fit_linear_head, power_normalised, signed_sqrt

PENALTIES = (0.01, 0.003, 0.001)
"""L2 penalties to choose from; features have a mean square norm of one hundred."""
FOLDS = 5


class Tagger(nn.Module):
    """A linear head on signed square roots of average-pooled features, for photos without tags.

    Args:
        weight: float32 (C, D).
        bias: float32 (C,).
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> Tagger:
        """Undo `state_dict`; KeyError or ValueError if tensors are missing or not those of a linear head."""
        return cls(*weight_and_bias(tensors))

    def forward(self, pooled: Tensor) -> Tensor:
        """Return raw logits, float (..., C), of the last level averaged over locations, float (..., D)."""
        return F.linear(signed_sqrt(pooled), self.weight, self.bias)


def fit_tagger(pooled: NDArray[np.floating], tags: NDArray[np.floating], seed: int) -> Tagger:
    """Fit the head to its optimum, with the penalty that predicts held-out tags best.

    Args:
        pooled: (n, D), the last level averaged over locations.
        tags: (n, C) of 0 and 1, or tag posteriors in 0..1.
        seed: Of the folds.
    """
    features, mean, scale = power_normalised(pooled)
    head = fit_linear_head(features, tags, best_penalty(features, tags, PENALTIES, FOLDS, seed))
    weight = head.weight * scale
    return Tagger(torch.from_numpy(weight).float(), torch.from_numpy(head.bias - weight @ mean).float())


def add_prior(logits: Tensor, prior: Tensor, weight: float) -> Tensor:
    """Add the class logits of the whole photo to those of its locations; the background's logit stays.

    With location logits z, float (N, C + 1, h, w) with the background z_0, photo logits e, float (N, C), and the weight
    s >= 0,

        z'_c = z_c + s e_c - log sum_k exp(z_k + s e_k) + log sum_k exp(z_k) + s log sigmoid(e_c),   k = 1..C.

    The first part, see `shift_classes`, moves the class of an object but not objectness; the last is the log
    probability that the photo has the class at all. Adding s e_c alone would also turn background into the classes of
    the photo.
    """
    prior = prior[:, :, None, None]
    joined = shift_classes(logits, prior, weight)
    return torch.cat([joined[:, :1], joined[:, 1:] + weight * F.logsigmoid(prior)], dim=1)


def shift_classes(logits: Tensor, prior: Tensor, weight: float) -> Tensor:
    """Add a prior to the class logits, and keep the odds of object against background at each location.

    Logits z are float (N, C + 1, h, w), background first; the prior e is float (N, C, h, w), or (N, C, 1, 1) of the
    photo, its weight s at least 0. Returns z_c + s e_c - log sum_k exp(z_k + s e_k) + log sum_k exp(z_k), k = 1..C.
    """
    objects = logits[:, 1:]
    moved = objects + weight * prior
    kept = torch.logsumexp(objects, 1, keepdim=True) - torch.logsumexp(moved, 1, keepdim=True)
    return torch.cat([logits[:, :1], moved + kept], dim=1)


BLOCK = 2
"""Rows and columns of locations that are averaged to one."""


class ImagePrior(nn.Module):
    """Two linear heads on mean features of a photo, whose logits join those of its locations.

    Args:
        tagger: Classifies the mean over all locations, see `add_prior`.
        weight: Its weight.
        objects: Classifies, for each location, the mean over similar locations of objects, so that the locations of an
            object decide together; None leaves it out.
        object_prior_weight: Its weight.
    """

    def __init__(
        self, tagger: Tagger, weight: float, objects: Tagger | None = None, object_prior_weight: float = 0.0
    ) -> None:
        super().__init__()
        self.tagger, self.weight = tagger, weight
        self.objects, self.object_prior_weight = objects, object_prior_weight

    def forward(self, logits: Tensor, features: Tensor) -> Tensor:
        """Return raw logits, float (N, C + 1, h, w), with the prior of the photo.

        Args:
            logits: Raw, float (N, C + 1, h, w), background first, on any grid that covers the photo.
            features: Last level of the backbone, float (N, D, h', w').
        """
        joined = add_prior(logits, self.tagger(features.mean(dim=(2, 3))), self.weight)
        if self.objects is None:
            return joined
        object_ = _at(1 - torch.softmax(logits, dim=1)[:, :1], features.shape[2:])
        # Blocks of locations give the same result in a fifth of the time.
        blocks, of_object = _blocks(features), _blocks(object_)
        prior = self.objects(object_means(blocks, of_object[:, 0])).transpose(1, 2).unflatten(2, blocks.shape[2:])
        return shift_classes(joined, _at(prior, logits.shape[2:]), self.object_prior_weight)


def object_means(features: Tensor, objects: Tensor) -> Tensor:
    """Return for every location the mean feature of similar object locations, float (N, h * w, D).

    Features are float (N, D, h, w), object probabilities float (N, h, w). A location is weighted by the cosine of the
    two features, cut off at zero, times its object probability.
    """
    locations = features.flatten(2).transpose(1, 2)
    unit = F.normalize(locations, dim=2)
    alike = (unit @ unit.transpose(1, 2)).clamp(min=0) * objects.flatten(1).unsqueeze(1)
    return alike @ locations / alike.sum(dim=2, keepdim=True).clamp(min=1e-6)


def _blocks(maps: Tensor) -> Tensor:
    return F.avg_pool2d(maps, BLOCK, ceil_mode=True, count_include_pad=False)


def _at(maps: Tensor, size: torch.Size) -> Tensor:
    return F.interpolate(maps, size, mode="bilinear", align_corners=False)
