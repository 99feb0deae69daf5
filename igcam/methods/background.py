"""Rules that separate background from the classes in activation maps, without true masks."""

from __future__ import annotations

from typing import Annotated

import cv2
import numpy as np
from numpy.typing import NDArray

from igcam.core.validation import NonNegative, one_of, options

Array = NDArray[np.float32]
RULES = ("constant", "otsu", "power")


@options
class BackgroundOptions:
    """Rule and its number."""

    rule: Annotated[str, one_of(RULES)] = "constant"
    """`constant`: a fixed score; `otsu`: the level that splits each image's map best; `power`: (1 - max)^value."""
    value: NonNegative = 0.15
    """The constant, by default that of IRN (Ahn et al., CVPR 2019); or the exponent of `power` (CLIP-ES)."""

    def __post_init__(self) -> None:
        if self.rule != "power" and self.value > 1:
            raise ValueError(f"value must be 0 to 1, got {self.value}")

    @property
    def words(self) -> str:
        """The rule as it stands in the ledger."""
        return "otsu of each map" if self.rule == "otsu" else f"{self.rule} {self.value:g}"


def with_background(activation: NDArray[np.floating], options: BackgroundOptions) -> Array:
    """Put a background score before the maps of the classes, float (C, h, w) in 0..1.

    Returns:
        float32 (C + 1, h, w), not summing to one; the largest score is the answer.
    """
    strongest = np.asarray(activation, np.float32).max(axis=0)
    if options.rule == "power":
        background = (1 - strongest) ** np.float32(options.value)
    else:
        level = options.value if options.rule == "constant" else _otsu(strongest)
        background = np.full(strongest.shape, level, np.float32)
    return np.concatenate([background[None], np.asarray(activation, np.float32)])


def tagged_with_background(maps: Array, present: NDArray[np.generic], options: BackgroundOptions) -> Array:
    """Put background scores before maps, (N, C, h, w); classes that are 0 in `present`, (N, C), become zero.

    Returns float32 (N, C + 1, h, w).
    """
    kept = maps * np.asarray(present, np.float32)[:, :, None, None]
    return np.stack([with_background(one, options) for one in kept])


def _otsu(strongest: Array) -> float:
    levels = np.clip(strongest * 255, 0, 255).astype(np.uint8)
    threshold, _ = cv2.threshold(levels.reshape(-1, 1), 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    return (threshold + 0.5) / 255
