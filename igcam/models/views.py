"""Views: how an image is put before the network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image


@dataclass(frozen=True, order=True)
class View:
    """The image squashed to a square, and mirrored if asked; several sizes make several scales."""

    size: int = 384
    """Side of the square in pixels."""
    flip: bool = False
    """Mirror left and right, after squashing."""

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"size must be positive, got {self.size}")

    @property
    def name(self) -> str:
        """The view in a file name: `384` or `384-flip`."""
        return f"{self.size}-flip" if self.flip else str(self.size)

    def apply(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the view of an image.

        Args:
            image: uint8 (H, W, 3).

        Returns:
            uint8 (size, size, 3), resampled bilinearly with antialiasing.
        """
        square = Image.fromarray(image).resize((self.size, self.size), Image.Resampling.BILINEAR)
        pixels = np.array(square)
        return np.ascontiguousarray(pixels[:, ::-1]) if self.flip else pixels
