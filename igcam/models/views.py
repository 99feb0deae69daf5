"""Views of an image: squares of some sizes, plain or mirrored, and the mean of maps over views."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

_Item = TypeVar("_Item")


@dataclass(frozen=True, order=True)
class View:
    """The image resized to a square and mirrored if asked; several sizes make several scales."""

    size: int = 384
    """Side of the square in pixels."""
    flip: bool = False
    """Mirror left and right, after resizing."""

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"size must be positive, got {self.size}")

    @property
    def name(self) -> str:
        """The view in a file name: `384` or `384-flip`."""
        return f"{self.size}-flip" if self.flip else str(self.size)

    def apply(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the view of an image, uint8 (H, W, 3): uint8 (size, size, 3), bilinear with antialiasing."""
        square = Image.fromarray(image).resize((self.size, self.size), Image.Resampling.BILINEAR)
        pixels = np.array(square)
        return np.ascontiguousarray(pixels[:, ::-1]) if self.flip else pixels


def to_pixels(squares: NDArray[np.uint8], device: torch.device) -> Tensor:
    """Convert images, uint8 (N, size, size, 3), to network input, float32 (N, 3, size, size) in [0, 1].

    Channels stay last in memory, which is faster for convolutions on a CPU and on tensor cores.
    """
    return torch.from_numpy(squares).to(device).permute(0, 3, 1, 2).float().div_(255)


def pixels_of_views(
    images: Sequence[NDArray[np.uint8]], views: Sequence[View], device: torch.device
) -> Iterator[Tensor]:
    """Yield the pixels of each view of a batch of images, uint8 (H, W, 3) each; each size is resized once."""
    squares: dict[int, NDArray[np.uint8]] = {}
    for view in views:
        if view.size not in squares:
            squares[view.size] = np.stack([View(view.size).apply(image) for image in images])
        pixels = to_pixels(squares[view.size], device)
        yield pixels.flip(-1) if view.flip else pixels


def mean_over_views(maps: Sequence[Tensor], flips: Sequence[bool]) -> Tensor:
    """Return the mean over views of maps (N, K, h, w), one per view; those of mirrored views are mirrored back."""
    straight = [view.flip(-1) if flip else view for view, flip in zip(maps, flips, strict=True)]
    return torch.stack(straight).mean(dim=0)


def filled_up(batch: Sequence[_Item], size: int) -> list[_Item]:
    """Repeat the last item up to `size`, as the output of a network for an image can depend on the batch size."""
    return [*batch, *[batch[-1]] * (size - len(batch))]
