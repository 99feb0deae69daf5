"""The coarsest level of the pyramid: a walk between all places, near and far, by features and colours."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from igcam.core.errors import check_ranges
from igcam.refine.dense_affinity import DenseAffinityOptions, dense_affinity
from igcam.refine.normalise import by_rows
from igcam.refine.stack import margin, resized
from igcam.refine.walk import walk

Array = NDArray[np.float32]


@dataclass(frozen=True)
class DenseLevelOptions:
    """The grid of places, their likeness, and the walk; chosen on training photos of voc-animals."""

    side: int = 48
    """Most rows and columns of the grid, which has twice those of the map; time and memory grow with its fourth
    power. 0 leaves this level out, and so do maps that are finer."""
    affinity: DenseAffinityOptions = field(default_factory=lambda: DenseAffinityOptions(power=2, colour=8, radius=12))
    """Likeness of two places, by features and colours."""
    near: float = 1.5
    """The reach where there are no features: colours alone mislead across a photo."""
    steps: int = 5
    """Steps of the walk."""
    restart: float = 0.1
    """Share of the upsampled map in every step where its margin is 0; it grows to 1 with the margin."""
    competition: float = 2.0
    """Sharpening after every step; 1 is none."""

    def __post_init__(self) -> None:
        check_ranges(
            self, side=(0, 128), near=(1e-3, math.inf), steps=(0, math.inf), restart=(0, 1), competition=(1, math.inf)
        )


def dense_level(
    image: NDArray[np.uint8],
    probability: NDArray[np.floating],
    feature: NDArray[np.floating] | None = None,
    options: DenseLevelOptions | None = None,
) -> Array:
    """Solve a coarse map again on a grid, each place by all that are like it.

    Args:
        image: uint8 (H, W, 3); the grid has at most as many rows and columns.
        probability: Float (K, h, w) in 0..1, summing to one over the classes, not finer than the grid.
        feature: Float (D, h', w') of the photo, such as the last level of a network; None goes by colours.
        options: Defaults to `DenseLevelOptions()`.

    Returns:
        float32 (K, rows, columns), summing to one.
    """
    options = options or DenseLevelOptions()
    rows, columns = (
        min(options.side, 2 * coarse, fine) for coarse, fine in zip(probability.shape[1:], image.shape[:2], strict=True)
    )
    small = np.asarray(cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA), np.uint8)
    if feature is None:
        by_colour = replace(options.affinity, power=0, radius=options.near)
        affinity = dense_affinity(np.ones((1, rows, columns), np.float32), small, by_colour)
    else:
        affinity = dense_affinity(resized(feature, rows, columns), small, options.affinity)
    np.fill_diagonal(affinity, 0)
    transition = by_rows(affinity, in_place=True)
    seeds = resized(probability, rows, columns).reshape(len(probability), -1)
    spread = walk(
        transition,
        seeds,
        options.steps,
        restart=options.restart + (1 - options.restart) * margin(seeds),
        competition=options.competition,
    )
    # A place that is like no other, in a photo of one place, keeps its map.
    spread = np.where(transition.max(axis=1) > 0, spread, seeds)
    return (spread / spread.sum(axis=0)).reshape(len(probability), rows, columns)
