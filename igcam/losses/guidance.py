"""Guidance loss: cross-entropy to soft pseudo labels, weighted by their confidence."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def guidance_loss(logits: Tensor, target: Tensor, confidence: Tensor) -> Tensor:
    """Return the mean cross-entropy of all locations, weighted by their confidence; 0 where all confidence is 0.

    Background is a class of the softmax: every location is an exact negative of an untagged class, and the background
    needs no threshold.

    Args:
        logits: Raw, float (N, K, h, w).
        target: Pseudo labels, float (N, K, h, w), summing to one over the classes.
        confidence: float (N, h, w), at least 0.

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
