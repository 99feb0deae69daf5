"""Class activation maps of a 1x1 head, at one scale or summed over scales and mirrored images."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch.nn.functional as F
from torch import Tensor


def class_activation_maps(feature: Tensor, weight: Tensor, bias: Tensor | None = None, relu: bool = True) -> Tensor:
    """Apply a linear head at each location: Z_c(u) = w_c . f(u) + b_c, then ReLU; float (N, C, h, w).

    Args:
        feature: float (N, D, h, w).
        weight: float (C, D) or (C, D, 1, 1).
        bias: float (C,), or None.
        relu: False returns raw logit maps.

    Raises:
        ValueError: Shapes do not fit.

    Source: Zhou et al., CVPR 2016, equation 2.
    """
    if feature.ndim != 4 or weight.ndim not in (2, 4) or weight.shape[1] != feature.shape[1]:
        raise ValueError(
            f"feature must be (N, D, h, w) and weight (C, D) or (C, D, 1, 1), "
            f"got {tuple(feature.shape)} and {tuple(weight.shape)}"
        )
    maps = F.conv2d(feature, weight.reshape(*weight.shape[:2], 1, 1), bias)
    return maps.relu() if relu else maps


def normalise(maps: Tensor, epsilon: float = 1e-5) -> Tensor:
    """Scale maps, float (..., h, w), to [0, 1): ReLU, then division by each map's maximum plus `epsilon`.

    A map that is nowhere positive becomes zero.

    Source: Ahn et al. (IRN), CVPR 2019, public code.
    """
    maps = maps.relu()
    return maps / (maps.amax(dim=(-2, -1), keepdim=True) + epsilon)


SCALES = (1.0, 0.5, 1.5, 2.0)
"""Usual scales of the field (IRN, Ahn et al., CVPR 2019)."""


def multiscale_maps(
    images: Tensor,
    maps: Callable[[Tensor], Tensor],
    size: tuple[int, int],
    scales: Sequence[float] = SCALES,
    flip: bool = True,
) -> Tensor:
    """Sum maps over scales and mirrored images, and divide each by its maximum: float (N, C, height, width) in [0, 1).

    Args:
        images: float (N, 3, H, W), RGB in [0, 1].
        maps: From images of any size to non-negative maps (N, C, h, w), such as `lambda x: localiser(x).relu()`.
        size: (height, width) of the result.
        scales: Factors of the image size.
        flip: Whether to add mirrored images.

    Raises:
        ValueError: `scales` is empty or not positive.
    """
    if not scales or min(scales) <= 0:
        raise ValueError(f"scales must be positive and at least one, got {list(scales)}")

    total = images.new_zeros(())
    for scale in scales:
        height, width = (max(1, round(side * scale)) for side in images.shape[2:])
        scaled = images if scale == 1 else _resize(images, (height, width), antialias=True)
        total = total + _resize(maps(scaled), size)
        if flip:
            total = total + _resize(maps(scaled.flip(3)).flip(3), size)
    return normalise(total)


def _resize(images: Tensor, size: tuple[int, int], antialias: bool = False) -> Tensor:
    return F.interpolate(images, size, mode="bilinear", align_corners=False, antialias=antialias)
