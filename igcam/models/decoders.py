"""Decoders of segmentation-models-pytorch, by name, on the feature maps of any network and any size of image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from segmentation_models_pytorch.decoders.deeplabv3.decoder import DeepLabV3PlusDecoder
from segmentation_models_pytorch.decoders.fpn.decoder import FPNDecoder
from segmentation_models_pytorch.decoders.segformer.decoder import SegformerDecoder
from segmentation_models_pytorch.decoders.upernet.decoder import UPerNetDecoder
from torch import Tensor, nn

from igcam.errors import IgcamError
from igcam.models.localiser import stack_levels

Levels = Sequence[Tensor]
"""Feature maps of one batch, float (N, channels, h, w), shallow to deep."""

_GROUP = 16
_NORM_TYPES = (nn.BatchNorm1d, nn.BatchNorm2d)


@dataclass(frozen=True)
class DecoderKind:
    """What is special to a decoder."""

    components: tuple[int, ...]
    """Channels that each level of the network is reduced to before it, shallow to deep; as many as it has levels."""
    joined: int
    """So many of the deepest levels are joined to one."""
    ratios: tuple[int, ...] | None
    """How many times finer each map must be than the deepest; None where any sizes will do."""
    shrinks: int
    """The deepest map may be shrunk so many times to make that fit."""
    build: Callable[[list[int], int, float], nn.Module]
    """Called with the channels of the maps, those of images and of stride 2 first, the width, and the dropout."""


def _deeplabv3plus(channels: list[int], width: int, dropout: float) -> nn.Module:
    # Rates of DeepLabV3+ for output stride 16 (Chen et al., ECCV 2018): those of stride 8 leave small maps.
    decoder = DeepLabV3PlusDecoder(channels, 4, width, (6, 12, 18), 16, True, dropout)
    # Cells are areas here: with aligned corners the coarse map would be shifted against the fine one.
    decoder.up = nn.Upsample(scale_factor=4, mode="bilinear", align_corners=False)
    return decoder


def _upernet(channels: list[int], width: int, dropout: float) -> nn.Module:
    return nn.Sequential(UPerNetDecoder(channels, 5, width), nn.Dropout2d(dropout))


def _fpn(channels: list[int], width: int, dropout: float) -> nn.Module:
    return FPNDecoder(channels, 5, width, width, dropout)


def _segformer(channels: list[int], width: int, dropout: float) -> nn.Module:
    return nn.Sequential(SegformerDecoder(channels, 5, width), nn.Dropout2d(dropout))


DECODERS: dict[str, DecoderKind] = {
    "deeplabv3plus": DecoderKind((64, 128, 256), 2, (4, 1), 1, _deeplabv3plus),
    "upernet": DecoderKind((64, 128, 128, 256), 1, None, 1, _upernet),
    "fpn": DecoderKind((64, 128, 128, 256), 1, (8, 4, 2, 1), 2, _fpn),
    "segformer": DecoderKind((64, 128, 128, 256), 1, None, 1, _segformer),
}
"""The decoders by name: Chen et al., ECCV 2018; Xiao et al., ECCV 2018; Kirillov et al., CVPR 2019; Xie et al.,
NeurIPS 2021."""


class Decoder(nn.Module):
    """From levels of a network to raw logits.

    Every batch norm is a group norm (Wu and He, ECCV 2018), so that an image's result and gradient depend on no other
    image: batches of one, accumulated gradients and several processes are all alike.

    Args:
        name: A key of `DECODERS`.
        channels: Of the levels, as many as the decoder takes.
        classes: Number of classes C, without background.
        width: Channels within; a multiple of 32.
        dropout: Share dropped in training.

    Raises:
        ValueError: The number of levels or the width does not fit.
    """

    def __init__(
        self, name: str, channels: Sequence[int], classes: int, width: int = 128, dropout: float = 0.1
    ) -> None:
        super().__init__()
        kind = DECODERS[name]
        if len(channels) != len(kind.components):
            raise ValueError(f"channels must be of {len(kind.components)} levels, got {list(channels)}")
        if width < 1 or width % 32:
            raise ValueError(f"width must be a multiple of 32, got {width}")
        alone = len(channels) - kind.joined
        joined = [*channels[:alone], sum(channels[alone:])]
        self.kind = kind
        self.inner = kind.build([3, 0, *joined], width, dropout)
        _use_group_norm(self.inner)
        self.leave = nn.Conv2d(width, classes + 1, 1)
        for module in self.inner.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, levels: Levels) -> Tensor:
        """Return raw logits, float (N, C + 1, h, w), background first, on the grid of the shallowest level.

        The grid can be a few cells larger, where the levels do not divide each other.
        """
        alone = len(self.kind.components) - self.kind.joined
        maps = [*levels[:alone], stack_levels(levels[alone:])]
        if self.kind.ratios is not None:
            maps = _to_ratios(maps, self.kind.ratios, self.kind.shrinks)
        # These decoders look for maps of stride 4 and more behind the image and a map of stride 2.
        height, width = maps[0].shape[2:]
        image = maps[0].new_zeros(()).expand(1, 3, 4 * height, 4 * width)
        logits: Tensor = self.leave(self.inner([image, maps[0][:, :0], *maps]))
        return logits

    @torch.no_grad()
    def favour_classes(self, amount: float) -> None:
        """Take an amount from the background's logit, for good."""
        bias = self.leave.bias
        if bias is not None:
            bias[0] -= amount


def choose_levels(name: str, strides: Sequence[int]) -> tuple[int, ...]:
    """Return the stages of a network that a decoder takes, ascending.

    Of a pyramid these are the last ones, for `deeplabv3plus` the first of stride 4 and the last two; of a network
    whose stages are all of one stride, such as a plain transformer, stages at even distances.

    Args:
        name: A key of `DECODERS`.
        strides: Of all stages, shallow to deep.

    Raises:
        IgcamError: The network has too few stages.
    """
    count = len(DECODERS[name].components)
    stages = [stage for stage, stride in enumerate(strides) if stride >= 4]
    if len(stages) < count:
        raise IgcamError(f"decoder {name}: needs {count} stages of stride 4 or more, the network has {len(stages)}")
    if strides[stages[0]] == strides[stages[-1]]:
        return tuple(stages[round((place + 1) * len(stages) / count) - 1] for place in range(count))
    joined = DECODERS[name].joined
    return tuple(sorted({*stages[: count - joined], *stages[-joined:]})) if joined > 1 else tuple(stages[-count:])


def _to_ratios(maps: list[Tensor], ratios: tuple[int, ...], shrinks: int) -> list[Tensor]:
    """Resize maps so that each is exactly so many times finer than the deepest."""
    pairs = zip(maps[0].shape[2:], maps[-1].shape[2:], strict=True)
    base = [max(-(-finest // ratios[0]), -(-deepest // shrinks)) for finest, deepest in pairs]
    return [resized_to(level, ratio * base[0], ratio * base[1]) for level, ratio in zip(maps, ratios, strict=True)]


def resized_to(level: Tensor, height: int, width: int) -> Tensor:
    """Resize (N, K, h, w) bilinearly, if it has another size."""
    if level.shape[2] == height and level.shape[3] == width:
        return level
    return F.interpolate(level, (height, width), mode="bilinear", align_corners=False)


def _use_group_norm(module: Any) -> None:
    """Put group norms, of 16 channels a group where they divide, in place of batch norms."""
    for name, child in module.named_children():
        if isinstance(child, _NORM_TYPES):
            setattr(module, name, nn.GroupNorm(max(1, child.num_features // _GROUP), child.num_features))
        else:
            _use_group_norm(child)
