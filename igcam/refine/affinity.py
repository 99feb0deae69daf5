"""Sparse affinities between a pixel and its neighbours, near and far."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

Array = NDArray[np.float32]

ROWS_AT_A_TIME = 1 << 15


@dataclass(frozen=True)
class AffinityOptions:
    """Which neighbours a pixel has, and how their likeness is weighed."""

    dilations: tuple[int, ...] = (1, 2, 4, 8, 12, 24)
    """Distances in pixels; at each of them a pixel has eight neighbours."""
    colour_width: float = 0.3
    """Tolerated difference in colour, in standard deviations of the neighbourhood."""
    contrast_floor: float = 2.0
    """Added to that standard deviation, in units of 0..255, so that noise in flat regions does not count."""
    position_weight: float = 0.01
    """Weight of the likeness by distance alone, beside 1 for the likeness by colour and features."""
    feature_width: float = 0.1
    """Tolerated difference (1 - cosine) of features, where features are given."""

    def __post_init__(self) -> None:
        if not self.dilations or min(self.dilations) < 1:
            raise ValueError(f"dilations: must be positive, got {self.dilations}")
        for name in ("colour_width", "feature_width", "contrast_floor"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: must be above 0, got {getattr(self, name)}")
        if self.position_weight < 0:
            raise ValueError(f"position_weight: must be at least 0, got {self.position_weight}")


def local_affinity(
    image: NDArray[np.generic],
    features: NDArray[np.floating] | None = None,
    options: AffinityOptions | None = None,
    rows: NDArray[np.bool_] | None = None,
) -> scipy.sparse.csr_array:
    """Build the transition matrix of a walk over the pixels; every row sums to one.

    A pixel goes to its neighbours with probability `softmax(-(colour distance)^2 - feature distance)`, plus a
    little by position. Colour distances are divided by the contrast of the neighbourhood, so that weak edges
    count where nothing stronger is near. Neighbours beyond the image are those on its border.

    Args:
        image: uint8 or float (H, W, 3) in 0..255.
        features: Float (D, H, W), compared by cosine; None for colour alone.
        options: Defaults to `AffinityOptions()`.
        rows: Bool (H, W), the pixels whose rows are wanted; None for all.

    Returns:
        float32 CSR (m, H * W), m the number of wanted pixels, in row-major order.

    Raises:
        ValueError: A shape is wrong, or a value is not finite.

    Source:
        Neighbourhoods and contrast as in pixel-adaptive refinement: Ru et al., "Learning affinity from
        attention", CVPR 2022.
    """
    options = options or AffinityOptions()
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape or not np.isfinite(image).all():
        raise ValueError(f"image: must be finite (H, W, 3), got {image.dtype} {image.shape}")
    height, width = image.shape[:2]
    if rows is not None and (rows.shape != (height, width) or rows.dtype != bool):
        raise ValueError(f"rows: must be bool ({height}, {width}), got {rows.dtype} {rows.shape}")
    colours = np.ascontiguousarray(image.reshape(-1, 3).T, dtype=np.float32)
    directions = None if features is None else _directions(features, height, width)
    wanted = np.arange(height * width) if rows is None else np.flatnonzero(rows)
    offsets = _offsets(options.dilations)
    columns = np.empty((len(wanted), len(offsets)), dtype=np.int32)
    weights = np.empty(columns.shape, dtype=np.float32)
    by_distance = _position_affinity(offsets)
    for start in range(0, len(wanted), ROWS_AT_A_TIME):
        part = slice(start, start + ROWS_AT_A_TIME)
        centre = wanted[part]
        neighbour = _neighbours(centre, offsets, height, width)
        logits = _colour_logits(colours, centre, neighbour, options)
        if directions is not None:
            logits += _feature_logits(directions, centre, neighbour, options)
        likeness = _softmax(logits) + options.position_weight * by_distance
        columns[part] = neighbour
        weights[part] = likeness / likeness.sum(axis=1, keepdims=True)
    index_type = np.int32 if weights.size < np.iinfo(np.int32).max else np.int64
    row_starts = np.arange(0, weights.size + 1, len(offsets), dtype=index_type)
    return scipy.sparse.csr_array((weights.ravel(), columns.ravel(), row_starts), shape=(len(wanted), height * width))


def _offsets(dilations: tuple[int, ...]) -> NDArray[np.int64]:
    """Return the (8 * len(dilations), 2) steps in rows and columns."""
    ring = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0)]
    return np.concatenate([np.array(ring) * dilation for dilation in dilations])


def _neighbours(centre: NDArray[np.int64], offsets: NDArray[np.int64], height: int, width: int) -> NDArray[np.int64]:
    y, x = np.divmod(centre[:, None], width)
    rows = np.clip(y + offsets[:, 0], 0, height - 1)
    return rows * width + np.clip(x + offsets[:, 1], 0, width - 1)


def _colour_logits(
    colours: Array, centre: NDArray[np.int64], neighbour: NDArray[np.int64], options: AffinityOptions
) -> Array:
    logits = np.zeros(neighbour.shape, dtype=np.float32)
    for channel in colours:
        around = channel[neighbour]
        contrast = around.std(axis=1) + np.float32(options.contrast_floor)
        around -= channel[centre, None]
        around /= (contrast * np.float32(options.colour_width))[:, None]
        logits -= around * around
    return logits / np.float32(len(colours))


def _feature_logits(
    directions: Array, centre: NDArray[np.int64], neighbour: NDArray[np.int64], options: AffinityOptions
) -> Array:
    logits = np.empty(neighbour.shape, dtype=np.float32)
    here = directions[centre]
    for index in range(neighbour.shape[1]):
        logits[:, index] = np.einsum("nd,nd->n", here, directions[neighbour[:, index]])
    return (logits - 1) / np.float32(options.feature_width)


def _directions(features: NDArray[np.floating], height: int, width: int) -> Array:
    """Return unit vectors, float32 (H * W, D); a zero vector stays zero."""
    if features.ndim != 3 or features.shape[1:] != (height, width):
        raise ValueError(f"features: must be (D, {height}, {width}), got {features.shape}")
    if not np.isfinite(features).all():
        raise ValueError("features: must be finite, got NaN or infinity")
    flat = np.ascontiguousarray(features.reshape(len(features), -1).T, dtype=np.float32)
    norm = np.linalg.norm(flat, axis=1, keepdims=True)
    return np.asarray(flat / np.maximum(norm, np.float32(1e-12)), dtype=np.float32)


def _position_affinity(offsets: NDArray[np.int64]) -> Array:
    """Return the likeness of each neighbour by its distance alone; they sum to one."""
    distance = np.hypot(offsets[:, 0], offsets[:, 1])
    return _softmax(-np.square(distance / distance.mean())[None].astype(np.float32))[0]


def _softmax(logits: Array) -> Array:
    likeness = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(likeness / likeness.sum(axis=1, keepdims=True), dtype=np.float32)
