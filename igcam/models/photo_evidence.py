"""What a photo says of its places where there are no tags: as a whole, and by all that is like a place."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from igcam.models.tagger import Tagger, add_evidence, turned

BLOCK = 2
"""Places, in rows and columns, that are looked at as one."""


class PhotoEvidence(nn.Module):
    """Two linear heads on means of a photo's features, whose logits join those of its places.

    Args:
        tagger: Asks the mean over all places, see `igcam.models.tagger.add_evidence`.
        share: How far it counts.
        objects: Asks for each place the mean over the places of objects that are like it, so that the places of an
            object decide together; None leaves this out.
        object_share: How far it counts.
    """

    def __init__(self, tagger: Tagger, share: float, objects: Tagger | None = None, object_share: float = 0.0) -> None:
        super().__init__()
        self.tagger, self.share = tagger, share
        self.objects, self.object_share = objects, object_share

    def forward(self, logits: Tensor, features: Tensor) -> Tensor:
        """Join what the photo says to the logits of its places.

        Args:
            logits: Raw, float (N, C + 1, h, w), background first, on any grid that covers the photo.
            features: Last level of the backbone, float (N, D, h', w').

        Returns:
            Raw logits, float (N, C + 1, h, w).
        """
        joined = add_evidence(logits, self.tagger(features.mean(dim=(2, 3))), self.share)
        if self.objects is None:
            return joined
        object_ = _at(1 - torch.softmax(logits, dim=1)[:, :1], features.shape[2:])
        # Blocks of places say the same in a fifth of the time.
        blocks, of_object = _blocks(features), _blocks(object_)
        said = self.objects(object_means(blocks, of_object[:, 0])).transpose(1, 2).unflatten(2, blocks.shape[2:])
        return turned(joined, _at(said, logits.shape[2:]), self.object_share)


def object_means(features: Tensor, objects: Tensor) -> Tensor:
    """Return for every place the mean feature of the objects' places that are like it.

    Places count by the cosine of their features with those of the place, cut off at zero, times how probably they are
    of an object.

    Args:
        features: float (N, D, h, w).
        objects: float (N, h, w) in 0..1, how probably a place is of an object.

    Returns:
        float (N, h * w, D).
    """
    places = features.flatten(2).transpose(1, 2)
    unit = F.normalize(places, dim=2)
    alike = (unit @ unit.transpose(1, 2)).clamp(min=0) * objects.flatten(1).unsqueeze(1)
    return alike @ places / alike.sum(dim=2, keepdim=True).clamp(min=1e-6)


def _blocks(maps: Tensor) -> Tensor:
    return F.avg_pool2d(maps, BLOCK, ceil_mode=True, count_include_pad=False)


def _at(maps: Tensor, size: torch.Size) -> Tensor:
    return F.interpolate(maps, size, mode="bilinear", align_corners=False)
