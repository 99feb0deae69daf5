"""The localiser: a backbone, a 1x1 head of one logit per class, and a pooling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from igcam.models.pooling import Pooling, get_pooling

if TYPE_CHECKING:
    from igcam.models.backbone import Backbone


class Localiser(nn.Module):
    """Classifies images by pooled logit maps, one per class.

    The head takes all levels of the backbone, resized to the finest and concatenated. Its weight and bias start at
    zero, which makes training independent of a seed.

    Args:
        backbone: With the levels that the head takes.
        classes: Number of classes C, without background.
        pooling: A name in `igcam.models.pooling.POOLINGS`, or a function (N, C, h, w) -> (N, C).
    """

    def __init__(self, backbone: Backbone, classes: int, pooling: str | Pooling = "average") -> None:
        super().__init__()
        if classes < 1:
            raise ValueError(f"classes must be positive, got {classes}")
        self.backbone = backbone
        self.pooling = get_pooling(pooling)
        self.head = nn.Conv2d(sum(backbone.channels), classes, kernel_size=1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> Tensor:
        """Return raw logit maps, float (N, C, h, w) on the finest level, of images, float (N, 3, H, W) in [0, 1]."""
        return self.logit_maps(self.backbone(images))

    def logit_maps(self, features: Sequence[Tensor]) -> Tensor:
        """Apply the head to features, one float (N, channels[i], h_i, w_i) per level; float (N, C, h, w)."""
        return self.head(stack_levels(features))

    def image_logits(self, images: Tensor) -> Tensor:
        """Return one raw logit per class and image, (N, C)."""
        return self.pooling(self(images))


def stack_levels(features: Sequence[Tensor]) -> Tensor:
    """Resize maps to the finest of them, bilinearly, and concatenate their channels."""
    size = max((tuple(feature.shape[2:]) for feature in features), key=lambda shape: shape[0] * shape[1])
    same = [
        feature
        if tuple(feature.shape[2:]) == size
        else F.interpolate(feature, size, mode="bilinear", align_corners=False)
        for feature in features
    ]
    return same[0] if len(same) == 1 else torch.cat(same, dim=1)
