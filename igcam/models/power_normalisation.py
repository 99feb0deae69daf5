"""Power normalisation of pooled features: signed square roots, so that no single strong feature dominates."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from igcam.models.linear_head import feature_scale


class PowerNormalised(NamedTuple):
    """Power-normalised features, and what maps other features to them."""

    features: NDArray[np.float64]
    """float64 (n, D): (root - mean) * scale, with a mean square norm of one hundred."""
    mean: NDArray[np.float64]
    """float64 (D,): mean of the roots."""
    scale: float
    """Factor of the centred roots."""


def power_normalised(features: ArrayLike) -> PowerNormalised:
    """Return the signed square roots of pooled features (n, D), centred and scaled."""
    roots = signed_sqrt(torch.as_tensor(np.asarray(features, np.float64))).numpy()
    mean = roots.mean(axis=0)
    centred = roots - mean
    scale = feature_scale(centred)
    return PowerNormalised(centred * scale, mean, scale)


def signed_sqrt(features: Tensor) -> Tensor:
    """Return sign(f) sqrt(|f|).

    Source: Perronnin et al., ECCV 2010.
    """
    return features.sign() * features.abs().sqrt()
