"""Pooling: from logit maps (N, C, h, w) to image logits (N, C)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from igcam.core.errors import IgcamError

Pooling = Callable[[Tensor], Tensor]
"""Any function from float (N, C, h, w) to (N, C)."""


def average(maps: Tensor) -> Tensor:
    """Mean over the locations; a linear head and this pooling commute. Source: Zhou et al., CVPR 2016."""
    return maps.mean(dim=(2, 3))


def maximum(maps: Tensor) -> Tensor:
    """Largest logit of all locations: only the most discriminative one is trained. Source: Oquab et al., CVPR 2015."""
    return maps.amax(dim=(2, 3))


def log_sum_exp(maps: Tensor, sharpness: float = 5.0) -> Tensor:
    """Generalised mean log(mean(exp(r z))) / r, r = `sharpness` > 0, between the average (r to 0) and the maximum.

    A sharpness that is not positive is a ValueError.

    Source: Pinheiro and Collobert, CVPR 2015, equation 6.
    """
    if not sharpness > 0:
        raise ValueError(f"sharpness must be positive, got {sharpness}")
    locations = maps.shape[2] * maps.shape[3]
    return ((sharpness * maps).logsumexp(dim=(2, 3)) - math.log(locations)) / sharpness


def top_share(maps: Tensor, share: float = 0.1) -> Tensor:
    """Mean of the highest logits: of this share of the locations, at least one; ValueError if not in (0, 1]."""
    if not 0 < share <= 1:
        raise ValueError(f"share must be in (0, 1], got {share}")
    flat = maps.flatten(2)
    count = max(1, round(share * flat.shape[2]))
    return torch.topk(flat, count, dim=2, sorted=False).values.mean(dim=2)


POOLINGS: dict[str, Pooling] = {"average": average, "max": maximum, "log-sum-exp": log_sum_exp, "top": top_share}
"""Poolings by name."""


def get_pooling(pooling: str | Pooling) -> Pooling:
    """Return a pooling by its name, or the function itself; IgcamError if there is none of this name."""
    if not isinstance(pooling, str):
        return pooling
    if pooling not in POOLINGS:
        raise IgcamError(f"pooling must be one of {', '.join(POOLINGS)}, got {pooling!r}")
    return POOLINGS[pooling]
