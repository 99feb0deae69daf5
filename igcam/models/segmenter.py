"""The segmenter: a backbone, 1x1 convolutions that reduce its levels, and a decoder; it needs no tags."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from igcam.core.validation import between, one_of, options
from igcam.models.backbone import Backbone
from igcam.models.decoders import DECODERS, Decoder
from igcam.models.image_prior import ImagePrior
from igcam.models.reduction import Reduction


@options
class SegmenterOptions:
    """Which decoder, and its size."""

    decoder: Annotated[str, one_of(DECODERS)] = "deeplabv3plus"
    """`deeplabv3plus`, `upernet`, `fpn` or `segformer`."""
    components: tuple[int, ...] | None = None
    """Channels that each level of the backbone is reduced to, shallow to deep; null takes those of the decoder."""
    width: Annotated[int, Field(multiple_of=32), between(32)] = 128
    """Channels within the decoder, a multiple of 32."""
    dropout: Annotated[float, between(0, 0.99)] = 0.1
    """Dropout rate in training."""

    def __post_init__(self) -> None:
        if self.components is not None:
            count = len(DECODERS[self.decoder].components)
            if len(self.components) != count or min(self.components) < 1:
                raise ValueError(
                    f"components must be {count} numbers of at least 1 for {self.decoder}, got {list(self.components)}"
                )

    @property
    def max_components(self) -> tuple[int, ...]:
        """Most channels of each reduced level."""
        return DECODERS[self.decoder].components if self.components is None else self.components


class Encoder(nn.Module):
    """A backbone whose levels are reduced, as a feature bank keeps them for decoders.

    Args:
        backbone: With the levels of the decoder.
        components: Most channels kept of each.
    """

    def __init__(self, backbone: Backbone, components: Sequence[int]) -> None:
        super().__init__()
        self.backbone = backbone
        self.channels = tuple(min(maximum, own) for maximum, own in zip(components, backbone.channels, strict=True))
        self.projections = nn.ModuleList(
            nn.Conv2d(own, kept, 1) for own, kept in zip(backbone.channels, self.channels, strict=True)
        )

    @property
    def name(self) -> str:
        """Name of the network."""
        return self.backbone.name

    @property
    def mean(self) -> Tensor:
        """See `Backbone.mean`; its device is that of the encoder."""
        return self.backbone.mean

    @property
    def key(self) -> str:
        """Identity of what this encoder computes; see `Backbone.key`."""
        content = hashlib.sha256()
        for name, tensor in sorted(self.projections.state_dict().items()):
            content.update(f"{name} {tuple(tensor.shape)}".encode())
            content.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return json.dumps({"backbone": json.loads(self.backbone.key), "projections": content.hexdigest()})

    @torch.no_grad()
    def use_reduction(self, reduction: Reduction) -> None:
        """Take principal components as projections, one per level, of the channels of this encoder."""
        for layer, mean, matrix in zip(self.projections, reduction.means, reduction.projections, strict=True):
            layer.weight.copy_(matrix.T[:, :, None, None])  # type: ignore[operator]
            layer.bias.copy_(-(mean @ matrix))  # type: ignore[operator]

    def project(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """Reduce the levels of the backbone, float (N, channels, h, w) each."""
        return [layer(level) for layer, level in zip(self.projections, levels, strict=True)]

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the reduced levels, shallow to deep, of images, float (N, 3, H, W), RGB in [0, 1]."""
        return self.project(self.backbone(images))


class Segmenter(nn.Module):
    """An encoder, a decoder, and an optional image prior.

    Args:
        encoder: With the levels of the decoder.
        options: The decoder.
        classes: Number of classes C, without background.
    """

    prior: ImagePrior | None
    """Applied to the logits by the last level; None for nothing."""

    def __init__(self, encoder: Encoder, options: SegmenterOptions, classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.options = options
        self.decoder = Decoder(options.decoder, encoder.channels, classes, options.width, options.dropout)
        self.prior = None

    def train(self, mode: bool = True) -> Segmenter:
        """Switch to training or evaluation; the norms of the backbone stay in evaluation mode."""
        super().train(mode)
        self.encoder.backbone.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Return the raw logits of `predict`."""
        return self.predict(images)[0]

    def predict(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return raw logits of images, float (N, 3, H, W), RGB in [0, 1], and their reduced last level.

        Logits are float (N, C + 1, h, w), background first, on a grid that covers the whole image; the level is float
        (N, D', h', w').
        """
        levels = self.encoder.backbone(images)
        reduced = self.encoder.project(levels)
        logits: Tensor = self.decoder(reduced)
        if self.prior is not None:
            logits = self.prior(logits, levels[-1])
        return logits, reduced[-1]
