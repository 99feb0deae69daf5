"""Multi-label loss: one logistic loss per class."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def multilabel_loss(logits: Tensor, tags: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return the mean binary cross-entropy over images and classes, a scalar.

    Args:
        logits: Raw, float (N, C).
        tags: float (N, C), 0 or 1.
        weight: float (N,) or (N, C), at least 0: factors; the mean is not divided by their sum.

    Raises:
        ValueError: Shapes differ.
    """
    if logits.shape != tags.shape:
        raise ValueError(f"tags: must be {tuple(logits.shape)} as logits, got {tuple(tags.shape)}")
    if weight is not None:
        if tuple(weight.shape) not in (tuple(logits.shape[:1]), tuple(logits.shape)):
            raise ValueError(f"weight: must be (N,) or (N, C) of {tuple(logits.shape)}, got {tuple(weight.shape)}")
        weight = weight.reshape(len(logits), -1).expand_as(logits)
    return F.binary_cross_entropy_with_logits(logits, tags, weight=weight)
