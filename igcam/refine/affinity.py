"""Affinities between pixels or locations: sparse among neighbours, dense among all pairs."""

from __future__ import annotations

from typing import Annotated

import cv2
import numpy as np
import scipy.sparse
from numpy.typing import NDArray
from pydantic import Field

from igcam.core.validation import Count, NonNegative, Positive, between, options

Array = NDArray[np.float32]

ROWS_AT_A_TIME = 1 << 15


@options
class AffinityOptions:
    """Neighbours of a pixel, and the weights of their affinity."""

    dilations: Annotated[tuple[Count, ...], Field(min_length=1)] = (1, 2, 4, 8, 12, 24)
    """Distances in pixels; at each of them a pixel has eight neighbours."""
    colour_width: Positive = 0.3
    """Tolerated difference in colour, in standard deviations of the neighbourhood."""
    contrast_floor: Positive = 2.0
    """Added to that standard deviation, in units of 0..255, against noise in flat regions."""
    position_weight: NonNegative = 0.01
    """Weight of the affinity by position, beside 1 for the affinity by colour and features."""
    feature_width: Positive = 0.1
    """Tolerated difference (1 - cosine) of features, where features are given."""


def local_affinity(
    image: NDArray[np.generic],
    features: NDArray[np.floating] | None = None,
    options: AffinityOptions | None = None,
    rows: NDArray[np.bool_] | None = None,
) -> scipy.sparse.csr_array:
    """Build the transition matrix of a walk over the pixels; every row sums to one.

    A pixel goes to its neighbours with probability `softmax(-(colour distance)^2 - feature distance)`, plus a little by
    position. Colour distances are divided by the contrast of the neighbourhood, so that weak edges count where no
    stronger one is near. Neighbours beyond the image are clipped to its border.

    Args:
        image: uint8 or float (H, W, 3) in 0..255.
        features: Float (D, H, W), compared by cosine; None for colour alone.
        options: Defaults to `AffinityOptions()`.
        rows: Bool (H, W), the pixels whose rows are wanted; None for all.

    Returns:
        float32 CSR (m, H * W), m the number of wanted pixels, in row-major order.

    Raises:
        ValueError: A shape is wrong, or a value is not finite.

    Source: Neighbourhoods and contrast as in pixel-adaptive refinement, Ru et al., CVPR 2022.
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
    """Return the affinity of each neighbour by its distance alone; they sum to one."""
    distance = np.hypot(offsets[:, 0], offsets[:, 1])
    return _softmax(-np.square(distance / distance.mean())[None].astype(np.float32))[0]


def _softmax(logits: Array) -> Array:
    likeness = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(likeness / likeness.sum(axis=1, keepdims=True), dtype=np.float32)


BLOCK = 96
"""Rows at a time, which fit into the cache."""


@options
class DenseAffinityOptions:
    """Terms of the affinity between two locations."""

    power: NonNegative = 1.0
    """The cosine of two features, cut off at zero, is raised to this power; 0 leaves the features out."""
    colour: Annotated[float, between(0.01, or_zero=True)] = 20.0
    """Standard deviation of the difference in colour, in units of CIE Lab; 0 leaves the colours out."""
    radius: Annotated[float, between(0.001)] = 8.0
    """Standard deviation of the Gaussian of the distance, in locations of a 24 x 24 map; scales with others."""


def dense_affinity(
    feature: NDArray[np.floating], image: NDArray[np.uint8] | None, options: DenseAffinityOptions | None = None
) -> Array:
    """Return the affinity of all pairs of locations: the product of terms for features, colours and distance.

    Args:
        feature: Float (D, h, w).
        image: uint8 (h, w, 3), RGB: the photo at the size of the feature; None leaves the colours out.
        options: Defaults to `DenseAffinityOptions()`.

    Returns:
        float32 (h * w, h * w) in 0..1, symmetric, 1 on the diagonal.

    Raises:
        ValueError: Shapes differ, or the feature is not finite.

    Source: The cosine cut off at zero, as in pixel correlation: Wang et al. (SEAM), CVPR 2020.
    """
    options = options or DenseAffinityOptions()
    if feature.ndim != 3 or not np.isfinite(feature).all():
        raise ValueError(f"feature: must be finite (D, h, w), got {feature.dtype} {feature.shape}")
    height, width = feature.shape[1:]
    coordinates = _locations(height, width) / np.float32(options.radius)
    if options.colour > 0 and image is not None:
        if image.shape != (height, width, 3) or image.dtype != np.uint8:
            raise ValueError(f"image: must be uint8 ({height}, {width}, 3), got {image.dtype} {image.shape}")
        lab = np.asarray(cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2Lab), np.float32)
        coordinates = np.concatenate([coordinates, lab.reshape(-1, 3).T / np.float32(options.colour)])
    left, right = _gaussian_factors(coordinates)
    unit = _unit(feature) if options.power > 0 else None
    affinity = np.empty((height * width, height * width), np.float32)
    for start in range(0, len(affinity), BLOCK):
        rows, columns = slice(start, start + BLOCK), slice(start, None)
        block = affinity[rows, columns]
        np.exp(np.minimum(left[rows] @ right[:, columns], 0).astype(np.float32), out=block)
        if unit is not None:
            cosine = unit[:, rows].T @ unit[:, columns]
            np.clip(cosine, 0, 1, out=cosine)
            block *= cosine if options.power == 1 else cosine ** np.float32(options.power)
        affinity[columns, rows] = block.T
    return affinity


def _unit(feature: NDArray[np.floating]) -> Array:
    """Return features (D + 1, n) of length one."""
    flat = np.asarray(feature, dtype=np.float32).reshape(len(feature), -1)
    # The small constant makes two zero features equal, instead of unlike everything.
    flat = np.concatenate([flat, np.full((1, flat.shape[1]), 1e-6, np.float32)])
    return flat / np.linalg.norm(flat, axis=0)


def _locations(height: int, width: int) -> Array:
    """Return rows and columns, (2, n), in locations of a 24 x 24 map."""
    grid = np.mgrid[:height, :width].reshape(2, -1)
    return (grid * np.array([[24 / height], [24 / width]])).astype(np.float32)


def _gaussian_factors(coordinates: Array) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (n, d + 2) and (d + 2, n) whose product is minus half the squared distance of all pairs of locations.

    In double precision against cancellation.
    """
    centred = coordinates.astype(np.float64)
    centred -= centred.mean(axis=1, keepdims=True)
    half = (centred**2).sum(axis=0, keepdims=True) / 2
    one = np.ones_like(half)
    return np.concatenate([centred, -half, one]).T, np.concatenate([centred, one, -half])
