"""The tagger: which classes are in a photo that has no tags, and what that says of its places."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from igcam.models.linear_head import best_penalty, fit_linear_head, power_normalised, signed_sqrt
from igcam.models.tensors import weight_and_bias

PENALTIES = (0.01, 0.003, 0.001)
"""L2 penalties to choose from; features have a mean square norm of one hundred."""
FOLDS = 5


class Tagger(nn.Module):
    """A linear head on rooted, average-pooled features of a photo.

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
        """Undo `state_dict`.

        Raises:
            KeyError: A tensor is missing.
            ValueError: They are not of a linear head.
        """
        return cls(*weight_and_bias(tensors))

    def forward(self, pooled: Tensor) -> Tensor:
        """Return raw logits, float (..., C), of the last level's mean over places, float (..., D)."""
        return F.linear(signed_sqrt(pooled), self.weight, self.bias)


def fit_tagger(pooled: NDArray[np.floating], tags: NDArray[np.floating], seed: int) -> Tagger:
    """Fit the head to its optimum, with the penalty that predicts held-out tags best.

    Args:
        pooled: (n, D), last level, mean over places.
        tags: (n, C) of 0 and 1, or how far each is believed.
        seed: Of the folds.
    """
    features, mean, scale = power_normalised(pooled)
    head = fit_linear_head(features, tags, best_penalty(features, tags, PENALTIES, FOLDS, seed))
    weight = head.weight * scale
    return Tagger(torch.from_numpy(weight).float(), torch.from_numpy(head.bias - weight @ mean).float())


def add_prior(logits: Tensor, prior: Tensor, share: float) -> Tensor:
    """Let what the whole photo says of each class decide what the objects in it are.

    With place logits z (background z_0), photo logits e and the share s,

        z'_c = z_c + s e_c - log sum_k exp(z_k + s e_k) + log sum_k exp(z_k) + s log sigmoid(e_c),   k = 1..C.

    The first part turns to which class a place belongs if it is an object, and leaves alone whether it is one; the
    last is how probable it is that the photo has the class at all. Adding s e_c alone would also turn background into
    whatever is surely somewhere in the photo.

    Args:
        logits: float (N, C + 1, h, w), background first.
        evidence: float (N, C), raw logits of the photo.
        share: How far it counts, at least 0.

    Returns:
        float (N, C + 1, h, w); the background's logit stays as it is.
    """
    said = prior[:, :, None, None]
    joined = turned(logits, said, share)
    return torch.cat([joined[:, :1], joined[:, 1:] + share * F.logsigmoid(said)], dim=1)


def turned(logits: Tensor, prior: Tensor, share: float) -> Tensor:
    """Let evidence decide to which class a place belongs if it is of an object, but not whether it is.

    Args:
        logits: float (N, C + 1, h, w), background first.
        evidence: float (N, C, h, w), or (N, C, 1, 1) of the photo.
        share: How far it counts, at least 0.

    Returns:
        float (N, C + 1, h, w): z_c + s e_c - log sum_k exp(z_k + s e_k) + log sum_k exp(z_k), k = 1..C.
    """
    objects = logits[:, 1:]
    moved = objects + share * prior
    kept = torch.logsumexp(objects, 1, keepdim=True) - torch.logsumexp(moved, 1, keepdim=True)
    return torch.cat([logits[:, :1], moved + kept], dim=1)


BLOCK = 2
"""Places, in rows and columns, that are looked at as one."""


class ImagePrior(nn.Module):
    """Two linear heads on means of a photo's features, whose logits join those of its places.

    Args:
        tagger: Asks the mean over all places, see `igcam.models.image_prior.add_prior`.
        share: How far it counts.
        objects: Asks for each place the mean over the places of objects that are like it, so that the places of an
            object decide together; None leaves this out.
        object_prior_weight: How far it counts.
    """

    def __init__(
        self, tagger: Tagger, share: float, objects: Tagger | None = None, object_prior_weight: float = 0.0
    ) -> None:
        super().__init__()
        self.tagger, self.share = tagger, share
        self.objects, self.object_prior_weight = objects, object_prior_weight

    def forward(self, logits: Tensor, features: Tensor) -> Tensor:
        """Join what the photo says to the logits of its places.

        Args:
            logits: Raw, float (N, C + 1, h, w), background first, on any grid that covers the photo.
            features: Last level of the backbone, float (N, D, h', w').

        Returns:
            Raw logits, float (N, C + 1, h, w).
        """
        joined = add_prior(logits, self.tagger(features.mean(dim=(2, 3))), self.share)
        if self.objects is None:
            return joined
        object_ = _at(1 - torch.softmax(logits, dim=1)[:, :1], features.shape[2:])
        # Blocks of places say the same in a fifth of the time.
        blocks, of_object = _blocks(features), _blocks(object_)
        said = self.objects(object_means(blocks, of_object[:, 0])).transpose(1, 2).unflatten(2, blocks.shape[2:])
        return turned(joined, _at(said, logits.shape[2:]), self.object_prior_weight)


def object_means(features: Tensor, objects: Tensor) -> Tensor:
    """Return for every place the mean feature of the objects' places that are like it.

    Places count by the cosine of their features with those of the place, cut off at zero, times how probably they are
    of an object.

    Args:
        features: float (N, D, h, w).
        objects: float (N, h, w) in 0..1, how probably a place is of an object.

    Returns:
        float (N, h * w, D).
    """
    locations = features.flatten(2).transpose(1, 2)
    unit = F.normalize(locations, dim=2)
    alike = (unit @ unit.transpose(1, 2)).clamp(min=0) * objects.flatten(1).unsqueeze(1)
    return alike @ locations / alike.sum(dim=2, keepdim=True).clamp(min=1e-6)


def _blocks(maps: Tensor) -> Tensor:
    return F.avg_pool2d(maps, BLOCK, ceil_mode=True, count_include_pad=False)


def _at(maps: Tensor, size: torch.Size) -> Tensor:
    return F.interpolate(maps, size, mode="bilinear", align_corners=False)
