"""Gaussian filtering of scattered points in a few dimensions, on the permutohedral lattice."""

from __future__ import annotations

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

Array = NDArray[np.float32]


class PermutohedralLattice:
    """Filter values that sit at points with a Gaussian of unit width in the space of the points.

    The filter approximates `out[i] = sum_j exp(-|f_i - f_j|^2 / 2) v_j` up to a constant factor, the point
    itself included, by sparse products: values are splatted to the vertices of the simplex around each point,
    blurred along the d + 1 directions of the lattice with weights 1/2, 1, 1/2, and sliced back.

    Args:
        features: Float (N, d), points already divided by the width along each axis.
        normalise: Scale the kernel on both sides, `k_ij / sqrt(s_i s_j)` with s the sums of its rows, so that
            it stays symmetric and its rows sum to about one.

    Raises:
        ValueError: The features are not a finite (N, d) array with N and d at least 1, or span so many cells
            that vertices cannot be numbered in 62 bits.

    Source:
        Adams, Baek and Davis, "Fast high-dimensional filtering using the permutohedral lattice", 2010.
    """

    def __init__(self, features: NDArray[np.floating], *, normalise: bool = False) -> None:
        if features.ndim != 2 or 0 in features.shape:
            raise ValueError(f"features: must be (N, d) with N and d at least 1, got {features.shape}")
        if not np.isfinite(features).all():
            raise ValueError("features: must be finite, got NaN or infinity")
        dimensions = features.shape[1]
        corner, rank, offset = _enclosing_simplex(_elevate(np.ascontiguousarray(features.T, dtype=np.float32)))
        strides = _strides(corner)
        keys, vertex_of = np.unique(_vertex_keys(corner, rank, strides), return_inverse=True)
        self._slice = scipy.sparse.csr_array(
            (
                _barycentric(offset, rank).T.ravel(),
                vertex_of.reshape(dimensions + 1, -1).T.ravel().astype(np.int32),
                np.arange(0, len(features) * (dimensions + 1) + 1, dimensions + 1, dtype=np.int32),
            ),
            shape=(len(features), len(keys)),
        )
        self._blurs = [_blur(keys, step) for step in _steps(strides)]
        if normalise:
            sums = self.filter(np.ones((len(features), 1), dtype=np.float32))
            self._slice.data *= np.repeat(1 / np.sqrt(sums + np.float32(1e-20)), dimensions + 1)

    @property
    def points(self) -> int:
        """Number of points."""
        return int(self._slice.shape[0])

    @property
    def vertices(self) -> int:
        """Number of lattice vertices in use."""
        return int(self._slice.shape[1])

    def filter(self, values: Array) -> Array:
        """Filter every column of `values`, float32 (N, L), into an array of the same shape.

        Raises:
            ValueError: `values` has another shape.
        """
        if values.ndim != 2 or len(values) != self.points:
            raise ValueError(f"values: must be ({self.points}, L), got {values.shape}")
        at_vertices = self._slice.T @ values
        for blur in self._blurs:
            at_vertices = blur @ at_vertices
        result: Array = self._slice @ at_vertices
        return result


def _elevate(points: Array) -> Array:
    """Embed (d, N) points in the plane of d + 1 coordinates that sum to 0, at the scale of the blur."""
    dimensions = len(points)
    index = np.arange(1, dimensions + 1, dtype=np.float32)
    scale = np.sqrt(2 / 3) * (dimensions + 1) / np.sqrt(index * (index + 1))
    scaled = points * scale[:, None].astype(np.float32)
    elevated = np.zeros((dimensions + 1, points.shape[1]), dtype=np.float32)
    elevated[:-1] = np.cumsum(scaled[::-1], axis=0)[::-1]
    elevated[1:] -= index[:, None] * scaled
    return elevated


def _enclosing_simplex(elevated: Array) -> tuple[NDArray[np.int32], NDArray[np.int8], Array]:
    """Find the simplex around each point: its corner, the offset from it, and the ranks of the offset.

    All three are (d + 1, N). Corners are the vertices whose coordinates are multiples of d + 1; they and the
    offsets are in units of d + 1. Rank 0 is the largest offset.
    """
    size = len(elevated)
    scaled = elevated / np.float32(size)
    corner = np.rint(scaled)
    offset = scaled - corner
    rank = np.zeros(elevated.shape, dtype=np.int8)
    for first in range(size):
        for second in range(first + 1, size):
            below = offset[first] < offset[second]
            rank[first] += below
            rank[second] += ~below
    rank += corner.sum(axis=0).astype(np.int8)
    shift = (rank < 0).astype(np.int8) - (rank >= size).astype(np.int8)
    rank += np.int8(size) * shift
    corner += shift
    offset -= shift
    return corner.astype(np.int32), rank, offset


def _strides(corner: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return multipliers that number vertices by their first d coordinates, with room for neighbours."""
    size = len(corner)
    spans = (np.ptp(corner[:-1], axis=1).astype(np.int64) + 5) * size
    if np.log2(spans).sum() > 62:
        raise ValueError(f"features: must span fewer lattice cells, got {spans.tolist()} along the axes")
    return np.append(np.cumprod(np.append(1, spans[:0:-1]))[::-1], 0)


def _vertex_keys(corner: NDArray[np.int32], rank: NDArray[np.int8], strides: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number the d + 1 vertices of every simplex, int64 (d + 1, N).

    Vertex k adds k to every coordinate of the corner, and takes d + 1 off the k coordinates that rank last.
    """
    size = len(corner)
    keys = np.empty(rank.shape, dtype=np.int64)
    keys[0] = (strides * size) @ corner
    for vertex in range(1, size):
        keys[vertex] = keys[vertex - 1] + strides.sum()
        for coordinate in range(size - 1):
            keys[vertex] -= (strides[coordinate] * size) * (rank[coordinate] == size - vertex)
    return keys


def _barycentric(offset: Array, rank: NDArray[np.int8]) -> Array:
    """Return the weights of the d + 1 vertices for each point, (d + 1, N); they sum to one."""
    size = len(offset)
    sorted_offset = np.empty_like(offset)
    np.put_along_axis(sorted_offset, rank.astype(np.intp), offset, axis=0)
    weights = np.empty_like(offset)
    weights[0] = 1 + sorted_offset[size - 1] - sorted_offset[0]
    weights[1:] = sorted_offset[size - 2 :: -1] - sorted_offset[:0:-1]
    return weights


def _steps(strides: NDArray[np.int64]) -> list[int]:
    """Return how the number of a vertex changes along each of the d + 1 directions."""
    size = len(strides)
    return [int(size * stride - strides.sum()) for stride in strides]


def _blur(keys: NDArray[np.int64], step: int) -> scipy.sparse.csr_array:
    """Return the blur along one direction: 1 on a vertex, 1/2 on its two neighbours where they exist."""
    count = len(keys)
    position = np.searchsorted(keys, keys + step)
    position[position == count] = 0
    here = np.flatnonzero(keys[position] == keys + step)
    there = position[here]
    before, after = np.zeros(count, dtype=np.int32), np.zeros(count, dtype=np.int32)
    before[there] = 1
    after[here] = 1
    start = np.zeros(count + 1, dtype=np.int32)
    np.cumsum(1 + before + after, out=start[1:])
    columns = np.empty(start[-1], dtype=np.int32)
    weights = np.full(start[-1], 0.5, dtype=np.float32)
    columns[start[there]] = here
    columns[start[here + 1] - 1] = there
    centre = start[:-1] + before
    columns[centre] = np.arange(count, dtype=np.int32)
    weights[centre] = 1
    return scipy.sparse.csr_array((weights, columns, start), shape=(count, count))
