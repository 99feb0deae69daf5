"""Any timm network that gives feature maps, behind one interface: pixels in [0, 1] in, NCHW maps out."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import field
from functools import partial
from pathlib import Path
from typing import Any

import timm
import torch
import torch.nn.functional as F
from timm.models.resnet import ResNet
from torch import Tensor, nn

from igcam.core.errors import IgcamError
from igcam.core.validation import options
from igcam.models.weights import download, load_weights

OUTPUT_STRIDES = (8, 16, 32)
"""Output strides that families with dilated convolutions can be built for."""

Network = Any
"""A module of timm; timm has no types."""

_USUAL_STRIDE = 16
_ANY_SIZE: dict[str, Any] = {"dynamic_img_size": True, "strict_img_size": False}

PASS_PIXELS = 384 * 384
"""Pixels of one forward pass on a CPU: larger ones leave its caches; eight images at once took half as long again."""
MAX_A_PASS = 1024
"""Images of one forward pass on a GPU."""


@options
class BackboneOptions:
    """Which network, with which weights, at which resolution."""

    name: str = "resnet50"
    """Name in timm, with or without the tag of its weights: `resnet50`, `convnext_tiny.fb_in22k`."""
    output_stride: int | None = None
    """Image pixels per cell of the last stage: 8, 16 or 32; None is 16 where the family can, else its own."""
    weights: Path | None = None
    """A local .safetensors file in place of timm's own weights."""
    pretrained: bool = True
    """Without a local file: fetch timm's weights of this name. False leaves them random."""
    levels: tuple[int, ...] = (-1,)
    """Stages of the network to return (blocks, in a plain transformer); negative counts from the end."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments of `timm.create_model`, such as `img_size` or `drop_path_rate`, fit for JSON."""


class Backbone(nn.Module):
    """A network without its classifier that returns feature maps, shallow to deep; it normalises its input itself.

    Attributes:
        channels: Channels of each returned map.
        strides: Image pixels per cell of each returned map.
        levels: Stage of each returned map, counted from 0, ascending.
        mean: float (1, 3, 1, 1), of the training images of the network; `std` likewise.
        multiple: Sides of the image are resized up to a multiple of this; 1 where any side will do.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: Network, options: BackboneOptions) -> None:
        super().__init__()
        stages = network.feature_info
        self.name = options.name
        self.levels = _resolve_levels(options, len(stages))
        self.channels = tuple(int(stages[level]["num_chs"]) for level in self.levels)
        self.strides = tuple(int(stages[level]["reduction"]) for level in self.levels)
        self.multiple = max(int(stage["reduction"]) for stage in stages) if _cuts_patches(network) else 1
        self._arguments = dict(options.arguments)
        network.prune_intermediate_layers(list(self.levels), prune_norm=False, prune_head=True)
        self.network: Network = network
        for key in ("mean", "std"):
            self.register_buffer(key, torch.tensor(network.pretrained_cfg[key]).view(1, 3, 1, 1), persistent=False)

    @property
    def key(self) -> str:
        """Identity of what this backbone computes: network, levels, strides and a digest of all its weights.

        Computed at each call (0.1 s for 25 million weights), as training changes it.
        """
        content = hashlib.sha256()
        for name, tensor in sorted(self.network.state_dict().items()):
            content.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            content.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        for name, module in self.network.named_modules():
            if isinstance(module, nn.Conv2d):
                content.update(f"{name} {module.stride} {module.dilation}".encode())
        facts = {"name": self.name, "levels": self.levels, "strides": self.strides, "arguments": self._arguments}
        facts |= {key: getattr(self, key).flatten().tolist() for key in ("mean", "std")}
        return json.dumps(facts | {"weights": content.hexdigest()}, sort_keys=True)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Compute the feature maps of a batch.

        Networks that cut the image into patches (ViT, Swin, ConvNeXt) get it resized up to the next multiple of
        `multiple`, so that the maps cover exactly the image. The last norm of a transformer is applied to its maps.

        Args:
            images: float (N, 3, H, W), RGB in [0, 1].

        Returns:
            One float (N, channels[i], ~H / strides[i], ~W / strides[i]) map per level.
        """
        parts = [self._intermediates(part, self.levels) for part in passes(images)]
        return tuple(torch.cat(level) if len(level) > 1 else level[0] for level in zip(*parts, strict=True))

    def trunk(self, images: Tensor, level: int = -1) -> Tensor:
        """Compute the activations at one stage of images, float (N, 3, H, W), from which `tail` goes on.

        Raises:
            IgcamError: The network cannot be split at this stage: only ResNets can be split before their last one.
        """
        return self._intermediates(images, (self._split(level),))[0]

    def tail(self, feature: Tensor, level: int = -1) -> Tensor:
        """Compute the activations of the last level from those that `trunk` gave at `level`; errors as there."""
        for stage in range(self._split(level) + 1, self.levels[-1] + 1):
            if stage == 1:
                feature = self.network.maxpool(feature)
            feature = getattr(self.network, f"layer{stage}")(feature)
        return feature

    def _split(self, level: int) -> int:
        last = self.levels[-1]
        stage = level + last + 1 if level < 0 else level
        if not 0 <= stage <= last:
            raise IgcamError(f"{self.name}: level {level} is not one of its stages -{last + 1}..{last}")
        if stage != last and not isinstance(self.network, ResNet):
            raise IgcamError(f"{self.name}: cannot be split at level {level}: only ResNets can, others give -1")
        return stage

    def _intermediates(self, images: Tensor, levels: Sequence[int]) -> list[Tensor]:
        if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
            raise ValueError(f"images must be float (N, 3, H, W), got {images.dtype} {tuple(images.shape)}")
        height, width = (math.ceil(side / self.multiple) * self.multiple for side in images.shape[2:])
        if (height, width) != tuple(images.shape[2:]):
            images = F.interpolate(images, (height, width), mode="bilinear", align_corners=False)
        try:
            return self.network.forward_intermediates(
                (images - self.mean) / self.std,
                indices=list(levels),
                norm=True,
                stop_early=True,
                output_fmt="NCHW",
                intermediates_only=True,
            )
        except AssertionError as error:
            raise IgcamError(
                f"{self.name}: cannot take images of {height}x{width}: {error}; set its size, "
                f'for instance arguments={{"img_size": {height}}}'
            ) from error


def images_a_pass(height: int, width: int, device: torch.device) -> int:
    """Return how many images of a size go through a network in one forward pass at inference."""
    return max(1, PASS_PIXELS // (height * width)) if device.type == "cpu" else MAX_A_PASS


def passes(images: Tensor) -> Sequence[Tensor]:
    """Split a batch (N, 3, H, W) into forward passes at inference; training takes all of it."""
    if not torch.is_inference_mode_enabled() or images.ndim != 4:
        return (images,)
    return images.split(images_a_pass(images.shape[2], images.shape[3], images.device))


def build_backbone(options: BackboneOptions) -> Backbone:
    """Build the network, load its weights, and wrap it, in evaluation mode.

    Raises:
        IgcamError: timm has no such network, the family cannot have this output stride, a level does not exist, or the
            weights cannot be had.
    """
    if not timm.is_model(options.name):
        near = ", ".join(timm.list_models(f"*{options.name.split('.')[0].split('_')[0]}*")[:5])
        raise IgcamError(f"{options.name}: timm has no network of this name" + (f"; near: {near}" if near else ""))
    network, create = _build_at_stride(options)
    if not hasattr(network, "forward_intermediates") or not hasattr(network, "prune_intermediate_layers"):
        raise IgcamError(f"{options.name}: this network of timm gives no feature maps")
    _resolve_levels(options, len(network.feature_info))
    if options.weights is not None:
        load_weights(network, options.weights)
    elif options.pretrained:
        network = download(partial(create, pretrained=True), options.name)
    return Backbone(network, options).eval()


def _build_at_stride(options: BackboneOptions) -> tuple[Network, partial[Network]]:
    """Build with random weights; return also a function that builds the same network again."""
    wanted = options.output_stride
    if wanted is None:
        network, create = _create(options, _USUAL_STRIDE)
        return (network, create) if network is not None else _create(options, None)
    network, create = _create(options, wanted)
    if network is not None and _own_stride(network) == wanted:
        return network, create
    tried = [(stride, _create(options, stride)[0]) for stride in OUTPUT_STRIDES]
    possible = [stride for stride, network in tried if network is not None and _own_stride(network) == stride]
    listed = ", ".join(map(str, possible or [_own_stride(_create(options, None)[0])]))
    raise IgcamError(f"{options.name}: cannot have output stride {wanted}, only {listed}")


def _create(options: BackboneOptions, stride: int | None) -> tuple[Network | None, partial[Network]]:
    """Call timm with those of our arguments that the family knows; None where it refuses the stride."""
    flexible = dict(_ANY_SIZE) if stride is None else {**_ANY_SIZE, "output_stride": stride}
    while True:
        # The user's arguments come last and are never dropped.
        create = partial(timm.create_model, options.name, num_classes=0, **{**flexible, **options.arguments})
        try:
            return create(pretrained=False), create
        except TypeError as error:
            unknown = [key for key in flexible if f"'{key}'" in str(error) and key not in options.arguments]
            if not unknown:
                raise IgcamError(f"{options.name}: {error}") from error
            for key in unknown:
                del flexible[key]
        except (AssertionError, NotImplementedError, RuntimeError, ValueError) as error:
            if stride is None:
                raise IgcamError(f"{options.name}: cannot be built: {error!r}") from error
            return None, create


def _own_stride(network: Network) -> int:
    return max(int(stage["reduction"]) for stage in network.feature_info)


def _resolve_levels(options: BackboneOptions, stages: int) -> tuple[int, ...]:
    levels = tuple(level + stages if level < 0 else level for level in options.levels)
    if not levels or any(not 0 <= level < stages for level in levels):
        raise IgcamError(
            f"{options.name}: levels must be among its stages 0..{stages - 1} or -{stages}..-1, "
            f"got {list(options.levels)}"
        )
    return tuple(sorted(set(levels)))


def _cuts_patches(network: nn.Module) -> bool:
    """Tell whether the first convolution has no overlap, so that an incomplete patch would be lost."""
    first = next((module for module in network.modules() if isinstance(module, nn.Conv2d)), None)
    return first is not None and first.stride[0] > 1 and first.stride == first.kernel_size
