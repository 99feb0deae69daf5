"""Augmentation of an image together with its masks, on torchvision's tv_tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

from igcam.core.validation import Count, Fraction, Rule, ScaleRange, between, options
from igcam.data.masks import IGNORE

Pair = tuple[tv_tensors.Image, dict[str, tv_tensors.Mask]]
BelowOne = Annotated[float, Rule(lambda value: 0 <= value < 1, "at least 0 and below 1")]


@options
class AugmentOptions:
    """Strength of the augmentation."""

    size: Count = 384
    """Side of the square output in pixels."""
    scale: ScaleRange = (0.7, 1.4)
    """Range of the longer side as a multiple of `size`, sampled log-uniformly."""
    stretch: BelowOne = 0.1
    """Largest change of the aspect ratio, as a fraction below 1."""
    flip: Fraction = 0.5
    """Probability of a horizontal flip."""
    brightness: BelowOne = 0.3
    """Brightness is multiplied by a factor in 1 - this .. 1 + this."""
    contrast: BelowOne = 0.3
    """The same for contrast."""
    saturation: BelowOne = 0.3
    """The same for saturation."""
    hue: Annotated[float, between(0, 0.5)] = 0.05
    """Largest shift of the hue, as a fraction of the circle, at most 0.5."""
    fill: tuple[int, int, int] = (124, 116, 104)
    """RGB colour of the padding, 0 to 255; the default is ImageNet's mean, which normalises to about 0."""


class PairedAugment:
    """Randomly scale, stretch, crop, flip and recolour an image; its masks follow every geometric change."""

    def __init__(self, options: AugmentOptions | None = None) -> None:
        self.options = options or AugmentOptions()

    def __call__(
        self,
        image: NDArray[np.uint8],
        masks: Mapping[str, NDArray[np.generic]] | None = None,
        generator: torch.Generator | None = None,
    ) -> Pair:
        """Return one augmented view.

        Args:
            image: uint8 (H, W, 3).
            masks: Arrays (H, W) or (K, H, W) by name: ids in uint8, soft labels or confidence in float.
            generator: CPU generator of all randomness; None takes torch's global one.

        Returns:
            The image, float32 (3, size, size) in [0, 1], not normalised; the masks by name, of their own
            dtype. Padding is 255 in uint8 masks, else 0.

        Raises:
            ValueError: The image is not uint8 (H, W, 3), or a mask has another size.
        """
        options = self.options
        height, width = image.shape[:2]

        def draw(low: float, high: float) -> float:
            return low + (high - low) * float(torch.rand((), generator=generator))

        factor = math.exp(draw(*map(math.log, options.scale))) * options.size / max(height, width)
        stretch = math.exp(draw(-1, 1) * math.log1p(options.stretch) / 2)
        scaled = (max(1, round(height * factor * stretch)), max(1, round(width * factor / stretch)))
        top, left = (round(draw(0, 1) * (options.size - side)) for side in scaled)
        mirrored = draw(0, 1) < options.flip
        brightness, contrast, saturation = (
            draw(1 - span, 1 + span) for span in (options.brightness, options.contrast, options.saturation)
        )
        hue = draw(-options.hue, options.hue)

        picture, layers = _as_tv_tensors(image, masks)
        picture = _crop(F.resize(picture, list(scaled), antialias=True), top, left, options.size)
        picture = F.to_dtype(picture, torch.float32, scale=True)
        picture = F.adjust_contrast(F.adjust_brightness(picture, brightness), contrast)
        picture = F.adjust_saturation(picture, saturation)
        if options.hue > 0:
            # The conversion to HSV and back takes half of the time of the whole augmentation.
            picture = F.adjust_hue(picture, hue)
        picture = _pad(picture, top, left, options.size, [value / 255 for value in options.fill])
        for name, layer in layers.items():
            seen = _crop(_resize_mask(layer, scaled), top, left, options.size)
            layers[name] = _pad(seen, top, left, options.size, IGNORE if layer.dtype == torch.uint8 else 0)
        if mirrored:
            picture = F.horizontal_flip(picture)
            layers = {name: F.horizontal_flip(layer) for name, layer in layers.items()}
        return picture, layers


def _as_tv_tensors(image: NDArray[np.uint8], masks: Mapping[str, NDArray[np.generic]] | None) -> Pair:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"image must be uint8 (H, W, 3), got {image.dtype} {image.shape}")
    layers = {}
    for name, mask in (masks or {}).items():
        if mask.ndim not in (2, 3) or mask.shape[-2:] != image.shape[:2]:
            raise ValueError(f"mask '{name}' must be {image.shape[:2]} as the image, got {mask.shape}")
        layers[name] = tv_tensors.Mask(torch.from_numpy(np.ascontiguousarray(mask)))
    picture = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)
    return tv_tensors.Image(picture), layers


def _resize_mask(mask: tv_tensors.Mask, size: tuple[int, int]) -> tv_tensors.Mask:
    # F.resize picks the nearest pixel of a Mask by its corner, which shifts it by up to half a pixel.
    planes = mask.as_subclass(Tensor).reshape(-1, *mask.shape[-2:])
    resized = F.resize_image(planes, list(size), interpolation=InterpolationMode.NEAREST_EXACT)
    return tv_tensors.Mask(resized.reshape(*mask.shape[:-2], *size))


def _crop(layer: Tensor, top: int, left: int, size: int) -> Tensor:
    # A negative top or left is the part of the image outside the square.
    row, column = max(-top, 0), max(-left, 0)
    rows = min(layer.shape[-2] - row, size - max(top, 0))
    columns = min(layer.shape[-1] - column, size - max(left, 0))
    return F.crop(layer, row, column, rows, columns)


def _pad(layer: Tensor, top: int, left: int, size: int, fill: float | list[float]) -> Tensor:
    above, before = max(top, 0), max(left, 0)
    below, after = size - above - layer.shape[-2], size - before - layer.shape[-1]
    return F.pad(layer, [before, above, after, below], fill=fill)
