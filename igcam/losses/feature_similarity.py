"""Feature similarity loss: neighbours of similar colour get one class, neighbours of different colour another."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_SMALL = 1e-5


def feature_similarity_loss(
    probability: Tensor, image: Tensor, mu: float = 2.5, sigma: float = 5.0, max_distance: float = 10.0
) -> Tensor:
    """Return -1 / (N h w) sum_ij w_ij g_ij |y_i - y_j|^2 / 2.

    The sum is over all ordered pairs of locations i, j at most `max_distance` apart, with the class scores y, the
    normal density w of their distance and, of the mean absolute difference d of their colours, g = tanh(mu + log((d +
    1e-5) / (1 - d + 1e-5))). g changes its sign at d = 1 / (1 + exp(mu)), 0.076 by default: below, the scores of a pair
    are pulled together, above, pushed apart.

    Args:
        probability: Scores, float (N, K, h, w) in 0..1, background among them.
        image: float (N, 3, h, w) in 0..1.
        mu: Larger values push pairs apart at smaller differences of colour.
        sigma: Standard deviation of the density, in locations.
        max_distance: In locations.

    Raises:
        ValueError: Shapes differ, or `sigma` is not positive.

    Source: Jonnarth, Zhang and Felsberg, High-fidelity pseudo-labels for boosting weakly-supervised segmentation, WACV
    2024. There all pairs count; beyond two sigma lies an eighth of their weight.
    """
    count, _, height, width = probability.shape
    if image.shape[0] != count or image.shape[2:] != probability.shape[2:] or not sigma > 0:
        raise ValueError(
            f"probability, image, sigma: must be (N, K, h, w), (N, 3, h, w) and above 0, "
            f"got {tuple(probability.shape)}, {tuple(image.shape)}, {sigma}"
        )
    reach = math.floor(max_distance)
    total = probability.new_zeros(())
    # Each pair once: half of the window around a location.
    for down in range(min(reach, height - 1) + 1):
        for right in range(-min(reach, width - 1), min(reach, width - 1) + 1):
            squared = down**2 + right**2
            if squared > max_distance**2 or (down == 0 and right <= 0):
                continue
            weight = math.exp(-squared / (2 * sigma**2)) / (2 * math.pi * sigma**2)
            colour = _difference(image, down, right).abs().mean(dim=1)
            push = torch.tanh(mu + torch.log((colour + _SMALL) / (1 - colour + _SMALL)))
            total = total + weight * (push * _difference(probability, down, right).square().sum(dim=1)).sum()
    return -total / (count * height * width)


def _difference(maps: Tensor, down: int, right: int) -> Tensor:
    """Return the differences of all pairs of locations at this offset, of maps (N, K, h, w)."""
    height, width = maps.shape[2:]
    first = maps[:, :, : height - down, max(0, -right) : width - max(0, right)]
    second = maps[:, :, down:, max(0, right) : width - max(0, -right)]
    return first - second
