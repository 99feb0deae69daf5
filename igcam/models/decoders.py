"""Decoders of segmentation-models-pytorch, by name, on the feature maps of any network and any size of image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.distributed
import torch.nn.functional as F
from segmentation_models_pytorch.decoders.deeplabv3.decoder import DeepLabV3PlusDecoder
from segmentation_models_pytorch.decoders.fpn.decoder import FPNDecoder
from segmentation_models_pytorch.decoders.segformer.decoder import SegformerDecoder
from segmentation_models_pytorch.decoders.upernet.decoder import UPerNetDecoder
from torch import Tensor, nn

from igcam.core.errors import IgcamError
from igcam.models.localiser import stack_levels
from igcam.models.segmentation_head import ClassLogits

Levels = Sequence[Tensor]
"""Feature maps of one batch, float (N, channels, h, w), shallow to deep."""


@dataclass(frozen=True)
class DecoderKind:
    """Parameters of a decoder."""

    components: tuple[int, ...]
    """Channels that each level of the network is reduced to, shallow to deep, one per level."""
    joined: int
    """Number of deepest levels that are concatenated."""
    build: Callable[[list[int], int, float], nn.Module]
    """Called with the channels of the maps (first those of the image and of stride 2), the width and the dropout."""


class _DeepLabV3Plus(DeepLabV3PlusDecoder):
    def __init__(self, channels: list[int], width: int, dropout: float) -> None:
        # Rates of the paper for output stride 16; those for stride 8 exceed small maps.
        super().__init__(channels, 4, width, (6, 12, 18), 16, True, dropout)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Resize the coarse map to the fine one, by any factor."""
        fine = self.block1(features[2])
        coarse = resized_to(self.aspp(features[-1]), *fine.shape[2:])
        return self.block2(torch.cat([coarse, fine], dim=1))


def _with_dropout(decoder: Callable[..., nn.Module], channels: list[int], width: int, dropout: float) -> nn.Module:
    return nn.Sequential(decoder(channels, 5, width), nn.Dropout2d(dropout))


class _FPN(FPNDecoder):
    def __init__(self, channels: list[int], width: int, dropout: float) -> None:
        super().__init__(channels, 5, width, width, dropout)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Resize the maps so that each is exactly twice as fine as the next one; the deepest is halved at most."""
        maps = features[-4:]
        pairs = zip(maps[0].shape[2:], maps[-1].shape[2:], strict=True)
        # Rounded up without negative numbers, which ONNX divides differently.
        height, width = (max((finest + 7) // 8, (deepest + 1) // 2) for finest, deepest in pairs)
        sized = [
            resized_to(level, ratio * height, ratio * width) for level, ratio in zip(maps, (8, 4, 2, 1), strict=True)
        ]
        return super().forward(sized)


DECODERS: dict[str, DecoderKind] = {
    "deeplabv3plus": DecoderKind((64, 128, 256), 2, _DeepLabV3Plus),
    "upernet": DecoderKind((64, 128, 128, 256), 1, partial(_with_dropout, UPerNetDecoder)),
    "fpn": DecoderKind((64, 128, 128, 256), 1, _FPN),
    "segformer": DecoderKind((64, 128, 128, 256), 1, partial(_with_dropout, SegformerDecoder)),
}
"""The decoders by name: Chen et al., ECCV 2018; Xiao et al., ECCV 2018; Kirillov et al., CVPR 2019; Xie et al.,
NeurIPS 2021."""


class Decoder(ClassLogits):
    """From levels of a network to raw logits; batch norms are `SharedBatchNorm`.

    Args:
        name: A key of `DECODERS`.
        channels: Of the levels, as many as the decoder takes.
        classes: Number of classes C, without background.
        width: Channels within; a multiple of 32.
        dropout: Dropout rate in training.

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
        _replace(self.inner)
        self.leave = nn.Conv2d(width, classes + 1, 1)
        for module in self.inner.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")

    def forward(self, levels: Levels) -> Tensor:
        """Return raw logits, float (N, C + 1, h, w), background first, on the grid of the shallowest level.

        The grid can be a few locations larger where the levels do not divide each other.
        """
        alone = len(self.kind.components) - self.kind.joined
        maps = [*levels[:alone], stack_levels(levels[alone:])]
        # These decoders expect the image and a map of stride 2 before the maps of stride 4 and more.
        height, width = maps[0].shape[2:]
        image = maps[0].new_zeros(()).expand(1, 3, 4 * height, 4 * width)
        return self.leave(self.inner([image, maps[0][:, :0], *maps]))


def choose_levels(name: str, strides: Sequence[int]) -> tuple[int, ...]:
    """Return the stages that a decoder takes of a network, ascending, by the strides of all stages, shallow to deep.

    Of a pyramid the last ones, for `deeplabv3plus` the first of stride 4 and the last two; of a network whose stages
    all have one stride, such as a plain transformer, stages at even distances.

    Raises:
        IgcamError: The network has too few stages.
    """
    count = len(DECODERS[name].components)
    stages = [stage for stage, stride in enumerate(strides) if stride >= 4]
    if len(stages) < count:
        raise IgcamError(f"decoder {name}: needs {count} stages of stride 4 or more, the network has {len(stages)}")
    if strides[stages[0]] == strides[stages[-1]]:
        return tuple(stages[round((location + 1) * len(stages) / count) - 1] for location in range(count))
    joined = DECODERS[name].joined
    return tuple(sorted({*stages[: count - joined], *stages[-joined:]})) if joined > 1 else tuple(stages[-count:])


def resized_to(level: Tensor, height: int, width: int) -> Tensor:
    """Resize (N, K, h, w) bilinearly, by operations that export for every size."""
    return F.interpolate(level, (height, width), mode="bilinear", align_corners=False)


class BinnedMean(nn.Module):
    """`nn.AdaptiveAvgPool2d(bins)` by operations that ONNX has for every size."""

    def __init__(self, bins: int) -> None:
        super().__init__()
        self.bins = bins

    def forward(self, feature: Tensor) -> Tensor:
        """Return means over the bins, (N, K, bins, bins), of a feature (N, K, h, w)."""
        rows, columns = (self._weights(feature, axis) for axis in (2, 3))
        return rows @ feature @ columns.T

    def _weights(self, feature: Tensor, axis: int) -> Tensor:
        """Return the weight of each location in each bin, (bins, h) or (bins, w); bins are rounded outwards."""
        side = feature.shape[axis]
        location = torch.arange(side, device=feature.device)
        first = torch.arange(self.bins, device=feature.device)[:, None]
        inside = (location >= first * side // self.bins) & (
            location < ((first + 1) * side + self.bins - 1) // self.bins
        )
        weights = inside.to(feature.dtype)
        return weights / weights.sum(dim=1, keepdim=True)


def _replace(module: Any) -> None:
    """Replace batch norms by shared ones, and pools by ones that ONNX has."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, SharedBatchNorm(child.num_features))
        elif isinstance(child, nn.AdaptiveAvgPool2d):
            setattr(module, name, BinnedMean(int(child.output_size)))  # type: ignore[arg-type]
        else:
            _replace(child)


class _SumOverProcesses(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, here: Tensor) -> Tensor:
        total = here.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        # The input entered the sum of every process.
        total = gradient.contiguous().clone()
        torch.distributed.all_reduce(total)
        return total


class SharedBatchNorm(nn.BatchNorm2d):
    """`nn.BatchNorm2d` with two differences in training.

    Several processes normalise by the mean and variance over all their images, as a single process would; torch's own
    `nn.SyncBatchNorm` needs GPUs. A batch with a single value per channel, as behind global pooling, has no variance
    and is normalised by the running statistics.

    Source: Ioffe and Szegedy, ICML 2015.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalised maps, float (N, K, h, w)."""
        if not self.training:
            return super().forward(input)
        count = input.numel() // input.shape[1]
        if torch.distributed.is_initialized() and torch.distributed.get_world_size() > 1:
            return self._over_processes(input.float(), count).to(input.dtype)
        if count == 1:
            return F.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(input)

    def _over_processes(self, input: Tensor, count: int) -> Tensor:
        first, second = input.sum(dim=(0, 2, 3)), input.square().sum(dim=(0, 2, 3))
        here = torch.cat([first, second, first.new_tensor([float(count)])])
        first, second, total = _SumOverProcesses.apply(here).split([len(first), len(second), 1])
        mean = first / total
        variance = (second / total - mean.square()).clamp(min=0)
        number = float(total.detach())
        if number == 1:
            mean, variance = self.running_mean, self.running_var
        else:
            # The running statistics move as those of torch.
            share = 0.1 if self.momentum is None else self.momentum
            unbiased = variance.detach() * number / (number - 1)
            for kept, new in ((self.running_mean, mean.detach()), (self.running_var, unbiased)):
                if kept is not None:
                    kept.lerp_(new, share)
            if self.num_batches_tracked is not None:
                self.num_batches_tracked.add_(1)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return input * scale[:, None, None] + (self.bias - mean * scale)[:, None, None]
