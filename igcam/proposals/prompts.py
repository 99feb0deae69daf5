"""Prompts for a segmenter out of activation maps: points on peaks, boxes around what is active."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from igcam.core.errors import check_ranges

Array = NDArray[np.float32]


@dataclass(frozen=True)
class PromptOptions:
    """Where to point."""

    min_peak: float = 0.5
    """Activation below which a peak is none."""
    peak_distance: float = 0.15
    """Peaks nearer to a higher one than this share of the image's sides are left out."""
    max_points: int = 5
    """Points an activation map, the highest peaks."""
    box_level: float = 0.3
    """Boxes go around connected places above this activation."""
    min_box: float = 0.01
    """Share of the image below which such places get no box."""
    max_boxes: int = 5
    """Boxes an activation map, around the largest."""

    def __post_init__(self) -> None:
        check_ranges(self, min_peak=(0, 1), peak_distance=(0, 1), max_points=(0, 1000))
        check_ranges(self, box_level=(0, 1), min_box=(0, 1), max_boxes=(0, 1000))


def peak_points(activation: NDArray[np.floating], options: PromptOptions | None = None) -> Array:
    """Return the peaks of a map, the highest first, float32 (n, 2) of x and y in 0..1 of width and height.

    Args:
        activation: Float (h, w) in 0..1.
        options: Defaults to `PromptOptions()`.
    """
    options = options or PromptOptions()
    height, width = activation.shape
    values = np.asarray(activation, np.float32)
    top = values >= cv2.dilate(values, np.ones((3, 3), np.uint8))
    rows, columns = np.nonzero(top & (values >= options.min_peak) & (values > 0))
    order = np.argsort(-values[rows, columns], kind="stable")
    found = np.stack([(columns[order] + 0.5) / width, (rows[order] + 0.5) / height], axis=1)
    kept: list[NDArray[np.floating]] = []
    for point in found:
        if len(kept) == options.max_points:
            break
        if all(np.linalg.norm(point - other) >= options.peak_distance for other in kept):
            kept.append(point)
    return np.array(kept, np.float32).reshape(-1, 2)


def active_boxes(activation: NDArray[np.floating], options: PromptOptions | None = None) -> Array:
    """Return boxes around what is active, the largest first, float32 (n, 4).

    Args:
        activation: Float (h, w) in 0..1.
        options: Defaults to `PromptOptions()`.

    Returns:
        Left, top, right and bottom in 0..1 of width and height.
    """
    options = options or PromptOptions()
    height, width = activation.shape
    active = (np.asarray(activation) > options.box_level).astype(np.uint8)
    _, _, facts, _ = cv2.connectedComponentsWithStats(active)
    facts = facts[1:]
    facts = facts[facts[:, cv2.CC_STAT_AREA] >= options.min_box * height * width]
    facts = facts[np.argsort(-facts[:, cv2.CC_STAT_AREA], kind="stable")][: options.max_boxes]
    left, top, across, down = facts[:, :4].T
    boxes = np.stack([left / width, top / height, (left + across) / width, (top + down) / height], axis=1)
    return boxes.astype(np.float32)
