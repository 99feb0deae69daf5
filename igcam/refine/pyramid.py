"""Multi-scale boundary enhancement: from a coarse map to the image, level by level."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated

import cv2
import numpy as np
from numpy.typing import NDArray

from igcam.core.validation import Fraction, Natural, between, one_of, options
from igcam.refine.affinity import AffinityOptions, DenseAffinityOptions, dense_affinity, local_affinity
from igcam.refine.crf import CRF_PRESETS, dense_crf
from igcam.refine.filters import guided_filter
from igcam.refine.propagation import by_rows, walk
from igcam.refine.stack import best_class, check_image, check_probability, margin, resized

Array = NDArray[np.float32]


@options
class DenseLevelOptions:
    """Grid, affinity and walk of the dense level; chosen on training photos of voc-animals."""

    side: Annotated[int, between(0, 128)] = 48
    """Most rows and columns of the grid, twice those of the map; time and memory grow with its fourth power. 0, and a
    finer map, leave this level out."""
    affinity: DenseAffinityOptions = field(default_factory=lambda: DenseAffinityOptions(power=2, colour=8, radius=12))
    """Affinity of two locations, by features and colours."""
    near: Annotated[float, between(0.001)] = 1.5
    """The radius if there are no features: colours alone mislead across a photo."""
    steps: Natural = 5
    """Steps of the walk."""
    restart: Fraction = 0.1
    """Share of the upsampled map in every step where its margin is 0; it grows to 1 with the margin."""
    competition: Annotated[float, between(1)] = 2.0
    """Sharpening after every step; 1 is none."""


def dense_level(
    image: NDArray[np.uint8],
    probability: NDArray[np.floating],
    feature: NDArray[np.floating] | None = None,
    options: DenseLevelOptions | None = None,
) -> Array:
    """Solve a coarse map again on a finer grid, by a walk along the dense affinity of its locations.

    Args:
        image: uint8 (H, W, 3); the grid has at most as many rows and columns.
        probability: Float (K, h, w) in 0..1, summing to one, not finer than the grid; so is the result, in float32.
        feature: Float (D, h', w') of the photo, such as the last level of a network; None uses colours alone.
        options: Defaults to `DenseLevelOptions()`.
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
    walked = walk(
        transition,
        seeds,
        options.steps,
        restart=options.restart + (1 - options.restart) * margin(seeds),
        competition=options.competition,
    )
    # A location without any affinity keeps its map.
    walked = np.where(transition.max(axis=1) > 0, walked, seeds)
    return (walked / walked.sum(axis=0)).reshape(len(probability), rows, columns)


LAST = ("walk", "guided", "crf")
"""Refiners of the finest level."""


@options
class PyramidOptions:
    """Levels, certainty, and the walk that solves uncertain pixels again."""

    dense: DenseLevelOptions = field(default_factory=DenseLevelOptions)
    """The first level, on a grid whose locations are all compared."""
    strides: tuple[int, ...] = (8, 4, 2, 1)
    """Levels from coarse to fine, in pixels of the image; those coarser than the input are skipped."""
    certain: float = 0.6
    """Pixels with a smaller margin between the best and the second class are uncertain and solved again."""
    band: Natural = 1
    """So are those within this many pixels of a change of the best class, at every level."""
    steps: int = 10
    """Steps of the walk at every level."""
    restart: float = 0.02
    """Share of the upsampled map in every step where its margin is 0; it grows to 1 with the margin."""
    competition: float = 1.5
    """Sharpening after every step; 1 is none. Without it a walk shrinks thin parts."""
    last: Annotated[str, one_of(LAST)] = "walk"
    """Refiner of the finest level: `walk` as the others, `guided` (a guided filter) or `crf`."""
    affinity: AffinityOptions = field(
        default_factory=lambda: AffinityOptions(dilations=(1, 2, 4, 8), colour_width=0.15)
    )
    """Neighbours and their affinity at every level."""

    def __post_init__(self) -> None:
        if not self.strides or min(self.strides) < 1 or list(self.strides) != sorted(self.strides)[::-1]:
            raise ValueError(f"strides: must fall and be at least 1, got {self.strides}")


@dataclass(frozen=True)
class Level:
    """The map after one level."""

    stride: int
    """Pixels of the image per pixel of the map; of the dense level, rounded up."""
    probability: Array
    """float32 (K, h, w) in 0..1, summing to one over the classes."""
    uncertainty: Array
    """float32 (h, w) in 0..1: 1 - (best - second best class)."""
    solved: NDArray[np.bool_]
    """Bool (h, w), the pixels that were solved again at this level."""


def sharpen(
    image: NDArray[np.uint8],
    probability: NDArray[np.floating],
    features: Mapping[int, NDArray[np.floating]] | None = None,
    options: PyramidOptions | None = None,
    *,
    deep: NDArray[np.floating] | None = None,
) -> list[Level]:
    """Upsample a coarse map to the size of the image, and move its boundaries to those of colours and features.

    First a dense level compares all locations of a coarse grid. At the following levels the map is upsampled; certain
    pixels keep their probabilities, and a walk along the affinities of the level carries them into the uncertain ones.

    Args:
        image: uint8 (H, W, 3).
        probability: Float (K, h, w) in 0..1, summing to one over the classes, h <= H and w <= W.
        features: Stride -> float (D, h', w'), resized to that level; other levels use colours.
        options: Defaults to `PyramidOptions()`.
        deep: Float (D, h', w'), features of a deep level for the dense level; None uses colours.

    Returns:
        The levels from coarse to fine; the last has the size of the image if its stride is 1.

    Raises:
        ValueError: A shape does not fit, or probabilities are out of range.
    """
    options = options or PyramidOptions()
    _check(image, probability, features, options)
    if deep is not None and (deep.ndim != 3 or 0 in deep.shape or not np.isfinite(deep).all()):
        raise ValueError(f"deep: must be finite (D, h, w), got {deep.shape}")
    current = np.clip(probability, 0, 1).astype(np.float32)
    levels: list[Level] = []
    side = options.dense.side
    if current.shape[1] <= side and current.shape[2] <= side and len(current) > 1:
        current = dense_level(image, current, deep, options.dense)
        stride = -(-max(image.shape[:2]) // max(current.shape[1:]))
        levels.append(Level(stride, current, 1 - margin(current), np.ones(current.shape[1:], bool)))
    for stride in options.strides:
        height, width = (-(-side // stride) for side in image.shape[:2])
        if (height < current.shape[1] or width < current.shape[2]) and stride != options.strides[-1]:
            continue
        # In float, so that nothing is rounded.
        small = cv2.resize(image.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
        guide = np.asarray(small, np.float32)
        layers = None if features is None or stride not in features else resized(features[stride], height, width)
        current = resized(current, height, width)
        if stride == options.strides[-1] and options.last != "walk":
            current, solved = _finish(current, guide, options.last), np.ones((height, width), bool)
        else:
            current, solved = _solve(current, guide, layers, options)
        levels.append(Level(stride, current, 1 - margin(current), solved))
    return levels


def _solve(
    probability: Array, guide: Array, features: Array | None, options: PyramidOptions
) -> tuple[Array, NDArray[np.bool_]]:
    """Carry the certain pixels of one level into the uncertain ones; return the map and which those were."""
    clear = margin(probability)
    solved = (clear < options.certain) | _near_change(probability, options.band)
    if solved.any():
        walked = walk(
            local_affinity(guide, features, options.affinity, solved),
            probability.reshape(len(probability), -1),
            options.steps,
            restart=(options.restart + (1 - options.restart) * clear).ravel(),
            clamped=~solved.ravel(),
            competition=options.competition,
        )
        probability = walked.reshape(probability.shape)
    return probability / probability.sum(axis=0), solved


def _finish(probability: Array, guide: Array, last: str) -> Array:
    """Solve the finest level by another refiner; its widths are in pixels of that level."""
    image = np.rint(guide).astype(np.uint8)
    shares = probability / probability.sum(axis=0)
    return guided_filter(image, shares) if last == "guided" else dense_crf(image, shares, CRF_PRESETS["afa"])


def _near_change(probability: Array, band: int) -> NDArray[np.bool_]:
    """Mark the pixels that see more than one best class within `band` pixels."""
    best = best_class(probability)
    window = np.ones((2 * band + 1, 2 * band + 1), dtype=np.uint8)
    return np.asarray(cv2.dilate(best, window) != cv2.erode(best, window), dtype=bool)


def _check(
    image: NDArray[np.uint8],
    probability: NDArray[np.floating],
    features: Mapping[int, NDArray[np.floating]] | None,
    options: PyramidOptions,
) -> None:
    check_image(image)
    if probability.ndim != 3 or 0 in probability.shape or len(probability) > 256:
        raise ValueError(f"probability: must be (K, h, w) with K in 1..256, got {probability.shape}")
    if probability.shape[1] > image.shape[0] or probability.shape[2] > image.shape[1]:
        raise ValueError(f"probability: must not be larger than the image {image.shape[:2]}, got {probability.shape}")
    check_probability(probability)
    for stride, layers in (features or {}).items():
        if stride not in options.strides:
            raise ValueError(f"features: strides must be among {options.strides}, got {stride}")
        if layers.ndim != 3 or 0 in layers.shape or not np.isfinite(layers).all():
            raise ValueError(f"features: must be finite (D, h, w), got {layers.shape} at stride {stride}")
