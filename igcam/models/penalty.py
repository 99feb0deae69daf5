"""The L2 penalty of a linear head, chosen by cross-validation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from igcam.core.progress import Progress, no_progress
from igcam.models.linear_head import cross_fitted_logits

Array = NDArray[np.float64]
Floats = NDArray[np.floating]


def best_penalty(
    features: Array, tags: Floats, penalties: Sequence[float], folds: int, seed: int, progress: Progress = no_progress
) -> float:
    """Return the penalty with the lowest out-of-fold tag loss; the first one if there is only one, or only one image.

    Args:
        features: (n, D), scaled.
        tags: (n, C), 0 or 1, or soft tags in between.
        penalties: To choose from.
        folds: Number of folds, reduced to n where it is larger.
        seed: Of the folds.
        progress: Called with what is being done, the number done and the number to do.
    """
    folds = min(folds, len(features))
    if len(penalties) < 2 or folds < 2:
        return penalties[0]
    features = rotated(features)
    losses = []
    for step, penalty in enumerate(penalties):
        losses.append(tag_loss(cross_fitted_logits(features, tags, penalty, folds, seed), tags))
        progress("choose the penalty", step + 1, len(penalties))
    return penalties[int(np.argmin(losses))]


def rotated(features: Array) -> Array:
    """Return features (n, D) with the same inner products in n columns if D > n, so that no fit has to rotate them."""
    if features.shape[1] <= len(features):
        return features
    _, triangle = np.linalg.qr(features.T)
    return np.ascontiguousarray(triangle.T)


def tag_loss(logits: Floats, tags: Floats) -> float:
    """Return the mean binary cross-entropy of raw logits (N, C) and tags (N, C)."""
    return float((np.logaddexp(0, logits) - tags * logits).mean())
