"""Gaussian filtering of scattered points in a few dimensions, on the permutohedral lattice."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
WIDTHS = (2, 4, 8)
"""Numbers of values per point that are filtered at once by vector instructions."""


class PermutohedralLattice:
    """Filter values that sit at points with a Gaussian of unit width in the space of the points.

    The filter approximates `out[i] = sum_j exp(-|f_i - f_j|^2 / 2) v_j` up to a constant factor: values are splatted to
    the vertices of the simplex around each point, blurred along the d + 1 directions of the lattice with weights 1/2,
    1, 1/2, and sliced back.

    Args:
        features: Float (N, d), points divided by the width along each axis.
        normalise: Scale the kernel on both sides, `k_ij / sqrt(s_i s_j)` with s its row sums, so that it stays
            symmetric and its rows sum to about one.

    Raises:
        ValueError: The features are not a finite (N, d) array with N and d at least 1, or span so many cells that
            vertices cannot be numbered in 62 bits.

    Source: Adams, Baek and Davis, "Fast high-dimensional filtering using the permutohedral lattice", 2010.
    """

    def __init__(self, features: NDArray[np.floating], *, normalise: bool = False) -> None:
        if features.ndim != 2 or 0 in features.shape:
            raise ValueError(f"features: must be (N, d) with N and d at least 1, got {features.shape}")
        if not np.isfinite(features).all():
            raise ValueError("features: must be finite, got NaN or infinity")
        from igcam.refine import kernels  # takes half a second to load

        points = np.ascontiguousarray(features, dtype=np.float32)
        size = points.shape[1] + 1
        scale = lattice_scale(points.shape[1])
        strides = _strides(points, scale)
        self._weights = np.empty((len(points), size), np.float32)
        keys = np.empty((len(points), size), np.int64)
        kernels.locate(points, scale, strides, self._weights, keys)
        self._vertex_of = np.empty((len(points), size), np.uint32)
        vertices, table, numbers = kernels.number(keys, self._vertex_of)
        # Along each direction one coordinate grows by d and the others shrink by one.
        self._before, self._after = kernels.link(vertices, table, numbers, size * strides - strides.sum())
        if normalise:
            ones = np.ones(len(points), dtype=np.float32)
            self._weights /= np.sqrt(self.filter(ones)[:, None] + np.float32(1e-20))

    def filter(self, values: Array) -> Array:
        """Filter float32 (N,) or (L, N) at the points into an array of the same shape; ValueError for another shape."""
        points = len(self._vertex_of)
        if values.ndim not in (1, 2) or values.shape[-1] != points:
            raise ValueError(f"values: must be ({points},) or (L, {points}), got {values.shape}")
        rows = values.reshape(-1, points)
        blocks = to_blocks(rows)
        result = np.zeros_like(blocks)
        self.add_filtered(blocks, 1.0, result)
        return from_blocks(result, len(rows)).reshape(values.shape)

    def add_filtered(self, blocks: Array, factor: float, result: Array) -> None:
        """Add filtered values, blocks (B, N, W) of `to_blocks`, times a factor to `result` of the same shape.

        Raises:
            ValueError: A shape or a dtype differs, or an array is not contiguous.
        """
        points = len(self._vertex_of)
        for array in (blocks, result):
            fits = array.ndim == 3 and array.shape[1] == points and array.shape[2] in WIDTHS
            if not fits or array.dtype != np.float32 or not array.flags.c_contiguous or array.shape != result.shape:
                raise ValueError(
                    f"blocks: must be contiguous float32 (B, {points}, W) like result, got {array.dtype} "
                    f"{blocks.shape} and {result.shape}"
                )
        from igcam.refine.kernels import filter_of

        filter_onto = filter_of(self._weights.shape[1], blocks.shape[2])
        for block, target in zip(blocks, result, strict=True):
            shared = (self._weights, self._vertex_of, self._before, self._after)
            filter_onto(block.reshape(-1), *shared, factor, target.reshape(-1))


def to_blocks(values: Array) -> Array:
    """Arrange values (L, N) so that W of each point lie side by side, and pad them with zeros.

    Returns:
        float32 (B, N, W), W one of `WIDTHS` and B * W at least L: value l of point n is at [l // W, n, l % W].
    """
    labels, points = values.shape
    width = next((width for width in WIDTHS if width >= labels), WIDTHS[-1])
    blocks = np.zeros((-(-labels // width), points, width), np.float32)
    for label, row in enumerate(values):
        blocks[label // width, :, label % width] = row
    return blocks


def from_blocks(blocks: Array, labels: int) -> Array:
    """Undo `to_blocks`: return float32 (labels, N)."""
    width = blocks.shape[2]
    return np.stack([blocks[label // width, :, label % width] for label in range(labels)])


def lattice_scale(dimensions: int) -> Array:
    """Return the factors that give the blur of the lattice, in its plane of d + 1 coordinates, unit width."""
    index = np.arange(1, dimensions + 1)
    return (np.sqrt(2 / 3) * (dimensions + 1) / np.sqrt(index * (index + 1))).astype(np.float32)


def _strides(points: Array, scale: Array) -> NDArray[np.int64]:
    """Return multipliers that number vertices by their first d coordinates, with room for neighbours."""
    dimensions = points.shape[1]
    low, high = (bound.astype(np.float64) * scale for bound in (points.min(axis=0), points.max(axis=0)))
    width = high - low
    # Coordinate j is the sum of the axes after j, less j times axis j.
    index = np.arange(dimensions)
    after = width.sum() - np.cumsum(width)
    spans = np.concatenate([[width.sum()], after[:-1] + index[1:] * width[:-1]]) + 6 * (dimensions + 1)
    if np.log2(spans).sum() > 62:
        raise ValueError(f"features: must span fewer lattice cells, got {np.ceil(spans).tolist()} along the axes")
    whole = np.ceil(spans).astype(np.int64)
    return np.append(np.cumprod(np.append(1, whole[:0:-1]))[::-1], 0)
