"""The guidance loss: trust-weighted cross-entropy to a coverage target."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def guidance_loss(logits: Tensor, target: Tensor, confidence: Tensor) -> Tensor:
    """Return the mean cross-entropy of the places, weighed by their trust.

    Background is a class of the softmax, so that for an untagged class every place is an exact negative and
    the background needs no threshold.

    Args:
        logits: Raw, float (N, K, h, w).
        target: Probabilities, float (N, K, h, w).
        confidence: Weights, float (N, h, w), at least 0.

    Returns:
        Scalar; 0 where nothing is trusted.

    Raises:
        ValueError: Shapes differ.
    """
    if logits.shape != target.shape or confidence.shape != (logits.shape[0], *logits.shape[2:]):
        raise ValueError(
            f"logits, target, confidence: must be (N, K, h, w) twice and (N, h, w), "
            f"got {tuple(logits.shape)}, {tuple(target.shape)}, {tuple(confidence.shape)}"
        )
    locations = -(F.log_softmax(logits, dim=1) * target).sum(dim=1)
    return (locations * confidence).sum() / confidence.sum().clamp(min=1e-6)
