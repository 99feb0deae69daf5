"""Importance sampling loss: a classification loss on locations sampled by their scores."""

from __future__ import annotations

import torch
from torch import Tensor

from igcam.losses.multilabel import multilabel_loss

MIN_PROBABILITY = 1e-5
"""Added to the score of every location, so that each can be sampled."""


def importance_sampling_loss(logits: Tensor, tags: Tensor, samples: int = 10) -> Tensor:
    """Return the mean logistic loss of locations that are sampled, for each class, by their sigmoid scores.

    A low score that is sampled for a tagged class raises the map over the whole object, where average pooling is
    satisfied by its most discriminative part. Gradients flow through the logits, not through the sampling, which uses
    torch's random state.

    Args:
        logits: Raw, float (N, C, h, w).
        tags: float (N, C), 0 or 1.
        samples: Locations sampled for each image and class, with replacement.

    Raises:
        ValueError: Shapes differ, or there are no samples.

    Source: Jonnarth, Zhang and Felsberg, High-fidelity pseudo-labels for boosting weakly-supervised segmentation, WACV
    2024.
    """
    if logits.ndim != 4 or samples < 1:
        raise ValueError(f"logits, samples: must be (N, C, h, w) and at least 1, got {tuple(logits.shape)}, {samples}")
    flat = logits.flatten(2)
    scores = flat.detach().float().sigmoid().flatten(0, 1) + MIN_PROBABILITY
    chosen = torch.multinomial(scores, samples, replacement=True).view(*flat.shape[:2], samples)
    collected = flat.gather(2, chosen).permute(0, 2, 1)
    return multilabel_loss(collected.flatten(0, 1), tags.repeat_interleave(samples, dim=0))
