"""Maps summed over scales and mirrored images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch.nn.functional as F
from torch import Tensor

from igcam.cams.cam import normalise

SCALES = (1.0, 0.5, 1.5, 2.0)
"""Scales that are usual in the field (IRN, Ahn et al., CVPR 2019)."""


def sum_maps(maps: Iterable[tuple[Tensor, bool]], size: tuple[int, int]) -> Tensor:
    """Mirror maps of mirrored images back, resize all bilinearly to one size, and add them up.

    Args:
        maps: float (N, C, h, w), of any resolution, each with whether its images were mirrored.
        size: (height, width) of the result.

    Returns:
        float (N, C, height, width).

    Raises:
        ValueError: There are no maps.
    """
    total: Tensor | None = None
    for scores, mirrored in maps:
        upright = scores.flip(3) if mirrored else scores
        resized = F.interpolate(upright, size, mode="bilinear", align_corners=False)
        total = resized if total is None else total + resized
    if total is None:
        raise ValueError("maps must not be empty")
    return total


def multiscale_maps(
    images: Tensor,
    maps: Callable[[Tensor], Tensor],
    size: tuple[int, int],
    scales: Sequence[float] = SCALES,
    flip: bool = True,
) -> Tensor:
    """Compute maps at several scales and mirrored, add them up, and divide each by its maximum.

    Args:
        images: float (N, 3, H, W), RGB in [0, 1].
        maps: From images of any size to maps (N, C, h, w), not negative, such as
            `lambda x: localiser(x).relu()`.
        size: (height, width) of the result.
        scales: Factors of the images' size.
        flip: Whether mirrored images take part too.

    Returns:
        float (N, C, height, width) in [0, 1).

    Raises:
        ValueError: `scales` is empty or not positive.
    """
    if not scales or min(scales) <= 0:
        raise ValueError(f"scales must be positive and at least one, got {list(scales)}")

    def each() -> Iterable[tuple[Tensor, bool]]:
        for scale in scales:
            height, width = (max(1, round(side * scale)) for side in images.shape[2:])
            scaled = images if scale == 1 else _resize(images, height, width)
            yield maps(scaled), False
            if flip:
                yield maps(scaled.flip(3)), True

    return normalise(sum_maps(each(), size))


def _resize(images: Tensor, height: int, width: int) -> Tensor:
    return F.interpolate(images, (height, width), mode="bilinear", align_corners=False, antialias=True)
