"""HFPL: high-fidelity pseudo-labels, by two losses on a plain classifier.

Source: Jonnarth, Zhang and Felsberg, High-fidelity pseudo-labels for boosting weakly-supervised segmentation, WACV
2024; code github.com/arvijj/hfpl.

What differs from the authors' code: they add the losses to SEAM (Siamese scales, equivariance, a Wide ResNet-38) and
train the whole network on crops; here a plain classifier is trained from the last stage on, so that features of two
views, plain and mirrored, are computed once and training takes minutes without a GPU. A second scale is not stored:
it serves SEAM alone. The feature similarity loss leaves out pairs beyond two sigma.
"""

from __future__ import annotations

from dataclasses import field
from typing import Annotated

import torch
from torch import Tensor

from igcam.cams import normalise
from igcam.core.validation import Count, Fraction, NonNegative, between, options
from igcam.losses import feature_similarity_loss, importance_sampling_loss
from igcam.methods.background import BackgroundOptions
from igcam.methods.base import MethodOptions
from igcam.methods.cam_tail import TailMethod, TrainTail, tag_loss
from igcam.methods.registry import register
from igcam.methods.training.loop import Batch, Loss
from igcam.methods.training.tail import TailOptions


@options
class HfplLosses:
    """Weights and parameters of the two losses."""

    importance: Fraction = 0.2
    """Share of the importance sampling loss in the classification loss; the rest is that of the pooling."""
    samples: Count = 10
    """Locations drawn for each image and class."""
    similarity: NonNegative = 10.0
    """Weight of the feature similarity loss; 0 leaves it out. The authors take 1, beside the losses of SEAM; 10 gave
    the best seeds on folds of voc-animals train (benchmarks/seeds_choice.py)."""
    mu: Annotated[float, between(-20, 20)] = 2.5
    """Locations whose colours differ by less than 1 / (1 + exp(mu)) are pulled together, others pushed apart."""
    sigma: Annotated[float, between(0.1)] = 5.0
    """Standard deviation of the distance of such pairs, in locations."""
    max_distance: Annotated[float, between(1)] = 10.0
    """Largest distance of pairs, in locations."""


@options
class HfplOptions(MethodOptions):
    """Training of the tail, the losses, and the background rule."""

    tail: TailOptions = field(default_factory=TailOptions)
    """Schedule."""
    losses: HfplLosses = field(default_factory=HfplLosses)
    """The losses."""
    background: BackgroundOptions = field(default_factory=BackgroundOptions)
    """How the background is told from the classes."""


def hfpl_losses(options: HfplLosses, pooling: str) -> list[Loss]:
    """Return the classification loss and, unless its weight is 0, the feature similarity loss."""
    pooled = tag_loss(pooling)

    def classification(logits: Tensor, batch: Batch) -> Tensor:
        drawn = importance_sampling_loss(logits, batch.known["tags"], options.samples)
        return (1 - options.importance) * pooled(logits, batch) + options.importance * drawn

    def similarity(logits: Tensor, batch: Batch) -> Tensor:
        maps = normalise(logits) * batch.known["tags"][:, :, None, None]
        scores = torch.cat([1 - maps.amax(dim=1, keepdim=True), maps], dim=1)
        return options.similarity * feature_similarity_loss(
            scores, batch.known["image"], options.mu, options.sigma, options.max_distance
        )

    return [classification, similarity] if options.similarity > 0 else [classification]


@register
class Hfpl(TailMethod):
    """High-fidelity pseudo-labels."""

    name = "hfpl"
    paper = "Jonnarth et al., High-fidelity pseudo-labels for boosting weakly-supervised segmentation, WACV 2024"
    about = "activation maps trained to cover objects and to follow edges of colour"
    maps = "hfpl-maps/maps"
    options = HfplOptions

    def training(self, chosen: HfplOptions) -> TrainTail:
        """Minimise both losses."""
        return TrainTail(self.name, chosen.tail, hfpl_losses(chosen.losses, chosen.tail.pooling), chosen.losses)
