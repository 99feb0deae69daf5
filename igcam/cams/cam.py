"""Class activation maps of a 1x1 head."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor


def class_activation_maps(
    feature: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    classes: Sequence[int] | None = None,
    tags: Tensor | None = None,
    relu: bool = True,
) -> Tensor:
    """Apply a linear head at each location: Z_c(u) = w_c . f(u) + b_c, then ReLU.

    Source: Zhou et al., CVPR 2016, equation 2.

    Args:
        feature: float (N, D, h, w).
        weight: float (C, D) or (C, D, 1, 1).
        bias: float (C,), or None for none.
        classes: Which maps to compute, in this order; None for all.
        tags: (N, C) of 0 and 1 or bool; the maps of classes that an image is not tagged with become zero.
        relu: False returns raw logit maps.

    Returns:
        float (N, C or len(classes), h, w).

    Raises:
        ValueError: Shapes do not fit.
    """
    if feature.ndim != 4 or weight.ndim not in (2, 4) or weight.shape[1] != feature.shape[1]:
        raise ValueError(
            f"feature must be (N, D, h, w) and weight (C, D) or (C, D, 1, 1), "
            f"got {tuple(feature.shape)} and {tuple(weight.shape)}"
        )
    if tags is not None and tuple(tags.shape) != (len(feature), len(weight)):
        raise ValueError(f"tags must be {(len(feature), len(weight))}, got {tuple(tags.shape)}")
    weight = weight.reshape(*weight.shape[:2], 1, 1)
    if classes is not None:
        chosen = list(classes)
        weight = weight[chosen]
        bias = None if bias is None else bias[chosen]
        tags = None if tags is None else tags[:, chosen]
    maps = F.conv2d(feature, weight, bias)
    if relu:
        maps = maps.relu()
    if tags is not None:
        maps = maps * tags.to(maps)[:, :, None, None]
    return maps


def normalise(maps: Tensor, epsilon: float = 1e-5) -> Tensor:
    """Scale each map to [0, 1): ReLU, then division by its maximum plus `epsilon`.

    A map that is nowhere positive becomes zero.

    Source: Ahn et al. (IRN), CVPR 2019, public code.

    Args:
        maps: float (..., h, w).
        epsilon: Keeps a zero map zero.
    """
    maps = maps.relu()
    return maps / (maps.amax(dim=(-2, -1), keepdim=True) + epsilon)
