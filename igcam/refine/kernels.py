"""Compiled loops of the dense CRF and its lattice; numba compiles them on first use and keeps them on disk."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit
from numba.core import types
from numba.extending import intrinsic
from numpy.typing import NDArray

ALIGNMENT = 4
"""Bytes of a float32: rows of a few numbers may begin anywhere."""


@intrinsic(prefer_literal=True)
def _add_scaled(_: Any, target: Any, to: Any, weight: Any, source: Any, start: Any, width: Any) -> Any:
    """Do `target[to : to + width] += weight * source[start : start + width]`.

    `target` and `source` are contiguous float32 without bounds checks; `to` and `start` are uint64, `weight` is
    float32, `width` is a constant of the compiled function, a power of two.
    """

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        size = width.literal_value
        onto = _pointer(context, builder, signature.args[0], given[0], given[1], size)
        values = builder.load(_pointer(context, builder, signature.args[3], given[3], given[4], size), align=ALIGNMENT)
        scaled = builder.fmul(_repeated(builder, given[2], size), values, flags=["contract"])
        total = builder.fadd(builder.load(onto, align=ALIGNMENT), scaled, flags=["contract"])
        builder.store(total, onto, align=ALIGNMENT)
        return context.get_dummy_value()

    return types.void(target, types.uint64, types.float32, source, types.uint64, width), code


@intrinsic(prefer_literal=True)
def _blend(_: Any, target: Any, source: Any, at: Any, before: Any, after: Any, width: Any) -> Any:
    """Do `target[at :] = source[at :] + (source[before :] + source[after :]) / 2` for `width` numbers each.

    Types are those of `_add_scaled`; `target` and `source` are two arrays, and all three indices are uint64.
    """

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        size = width.literal_value
        middle, first, second = (
            builder.load(_pointer(context, builder, signature.args[1], given[1], index, size), align=ALIGNMENT)
            for index in given[2:5]
        )
        half = ir.Constant(first.type, [0.5] * size)
        total = builder.fadd(middle, builder.fmul(half, builder.fadd(first, second)), flags=["contract"])
        onto = _pointer(context, builder, signature.args[0], given[0], given[2], size)
        builder.store(total, onto, align=ALIGNMENT)
        return context.get_dummy_value()

    return types.void(target, source, types.uint64, types.uint64, types.uint64, width), code


# As they are called from compiled code: the first argument is the compiler's.
add_scaled: Any = _add_scaled
blend: Any = _blend


def _pointer(context: Any, builder: Any, kind: Any, array: Any, index: Any, width: int) -> Any:
    """Return a pointer to `width` numbers of an array, starting at an index."""
    first = builder.gep(context.make_array(kind)(context, builder, value=array).data, [index])
    return builder.bitcast(first, ir.PointerType(ir.VectorType(ir.FloatType(), width)))


def _repeated(builder: Any, number: Any, width: int) -> Any:
    """Return a vector of one number."""
    empty = ir.Constant(ir.VectorType(ir.FloatType(), width), ir.Undefined)
    lanes = ir.Constant(ir.VectorType(ir.IntType(32), width), [0] * width)
    return builder.shuffle_vector(builder.insert_element(empty, number, ir.IntType(32)(0)), empty, lanes)


Array = NDArray[np.float32]
Numbers = NDArray[np.uint32]

EMPTY = np.int64(-(2**63))


@njit(cache=True, nogil=True)
def locate(features: Array, scale: Array, strides: NDArray[np.int64], weights: Array, keys: NDArray[np.int64]) -> None:
    """Find the d + 1 vertices around each point: write their weights and keys, (N, d + 1) each.

    A point is embedded in the plane of d + 1 coordinates that sum to zero. The corner of its simplex has multiples of d
    + 1 as coordinates; vertex k adds k to all of them, and subtracts d + 1 from the k that rank last.
    """
    count, dimensions = features.shape
    size = dimensions + 1
    elevated = np.empty(size, np.float32)
    corner = np.empty(size, np.int64)
    offset = np.empty(size, np.float32)
    rank = np.empty(size, np.int64)
    ordered = np.empty(size + 1, np.float32)
    step = strides.sum()
    for point in range(count):
        total = np.float32(0)
        for axis in range(dimensions, 0, -1):
            along = features[point, axis - 1] * scale[axis - 1]
            elevated[axis] = total - np.float32(axis) * along
            total += along
        elevated[0] = total
        excess = 0
        for axis in range(size):
            nearest = np.rint(elevated[axis] / np.float32(size))
            corner[axis] = np.int64(nearest)
            offset[axis] = elevated[axis] / np.float32(size) - nearest
            excess += corner[axis]
            rank[axis] = 0
        for first in range(size):
            for second in range(first + 1, size):
                if offset[first] < offset[second]:
                    rank[first] += 1
                else:
                    rank[second] += 1
        for axis in range(size):
            rank[axis] += excess
            if rank[axis] < 0:
                rank[axis] += size
                corner[axis] += 1
                offset[axis] -= np.float32(1)
            elif rank[axis] >= size:
                rank[axis] -= size
                corner[axis] -= 1
                offset[axis] += np.float32(1)
        for axis in range(size + 1):
            ordered[axis] = 0
        key = np.int64(0)
        for axis in range(size):
            ordered[dimensions - rank[axis]] += offset[axis]
            ordered[size - rank[axis]] -= offset[axis]
            key += corner[axis] * strides[axis] * size
        ordered[0] += np.float32(1) + ordered[size]
        keys[point, 0] = key
        weights[point, 0] = ordered[0]
        for vertex in range(1, size):
            key += step
            for axis in range(size):
                if rank[axis] == size - vertex:
                    key -= strides[axis] * size
            keys[point, vertex] = key
            weights[point, vertex] = ordered[vertex]


@njit(cache=True, nogil=True)
def number(keys: NDArray[np.int64], vertex_of: Numbers) -> tuple[NDArray[np.int64], NDArray[np.int64], Numbers]:
    """Number vertices from 1 on in order of appearance.

    Returns:
        The keys by number, and an open hash table from keys to numbers; number 0 stays free.
    """
    count, size = keys.shape
    capacity = 1 << 12
    table, numbers = np.full(capacity, EMPTY), np.zeros(capacity, np.uint32)
    found = np.empty(capacity // 2 + 1, np.int64)
    used = 0
    for point in range(count):
        for vertex in range(size):
            key = keys[point, vertex]
            # Neighbouring pixels often share their simplex.
            if point > 0 and keys[point - 1, vertex] == key:
                vertex_of[point, vertex] = vertex_of[point - 1, vertex]
                continue
            slot = _slot(key, table)
            if table[slot] == EMPTY:
                used += 1
                table[slot], numbers[slot], found[used] = key, used, key
            vertex_of[point, vertex] = numbers[slot]
            if 2 * used >= capacity:
                capacity *= 4
                table, numbers = np.full(capacity, EMPTY), np.zeros(capacity, np.uint32)
                larger = np.empty(capacity // 2 + 1, np.int64)
                larger[: used + 1] = found[: used + 1]
                found = larger
                for known in range(1, used + 1):
                    slot = _slot(found[known], table)
                    table[slot], numbers[slot] = found[known], known
    return found[: used + 1].copy(), table, numbers


@njit(cache=True, nogil=True)
def link(
    vertices: NDArray[np.int64], table: NDArray[np.int64], numbers: Numbers, steps: NDArray[np.int64]
) -> tuple[Numbers, Numbers]:
    """Return the neighbours before and after each vertex along each direction, (d + 1, M); 0 for none."""
    before = np.zeros((len(steps), len(vertices)), np.uint32)
    after = np.zeros((len(steps), len(vertices)), np.uint32)
    for direction in range(len(steps)):
        for vertex in range(1, len(vertices)):
            key = vertices[vertex] + steps[direction]
            slot = _slot(key, table)
            if table[slot] == key:
                after[direction, vertex] = numbers[slot]
                before[direction, numbers[slot]] = vertex
    return before, after


@njit(cache=True, nogil=True)
def _slot(key: np.int64, table: NDArray[np.int64]) -> np.int64:
    """Return where a key stands in an open hash table, or the free slot where it belongs."""
    last = len(table) - 1
    mixed = np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)
    slot = np.int64((mixed >> np.uint64(24)) & np.uint64(last))
    while table[slot] != EMPTY and table[slot] != key:
        slot = (slot + 1) & last
    return slot


@cache
def filter_of(size: int, width: int) -> Callable[..., None]:
    """Return the filter of `width` values per point with `size` vertices, both compile-time constants for speed."""

    @njit(cache=True, nogil=True)
    def filter_onto(
        values: Array, weights: Array, vertex_of: Numbers, before: Numbers, after: Numbers, factor: float, result: Array
    ) -> None:
        """Add the filtered values (N * width,), times a factor, to the result (N * width,): splat, blur, slice."""
        wide = np.uint64(width)
        at = np.zeros(before.shape[1] * width, np.float32)
        for point in range(len(weights)):
            for corner in range(size):
                vertex = np.uint64(vertex_of[point, corner]) * wide
                add_scaled(at, vertex, weights[point, corner], values, np.uint64(point) * wide, width)
        blurred = np.zeros_like(at)
        for direction in range(size):
            for middle in range(1, before.shape[1]):
                previous = np.uint64(before[direction, middle]) * wide
                following = np.uint64(after[direction, middle]) * wide
                blend(blurred, at, np.uint64(middle) * wide, previous, following, width)
            at, blurred = blurred, at
        scale = np.float32(factor)
        for point in range(len(weights)):
            for corner in range(size):
                vertex = np.uint64(vertex_of[point, corner]) * wide
                add_scaled(result, np.uint64(point) * wide, scale * weights[point, corner], at, vertex, width)

    return filter_onto


@njit(cache=True, nogil=True)
def add_and_shift(energy: Array, log_unary: Array, classes: int) -> None:
    """Add the unary to the energy, (B, N, W), and subtract the maximum of each point; padding becomes -inf."""
    blocks, points, width = energy.shape
    for point in range(points):
        highest = np.float32(-np.inf)
        for block in range(blocks):
            for lane in range(min(width, classes - block * width)):
                energy[block, point, lane] += log_unary[block, point, lane]
                highest = max(highest, energy[block, point, lane])
        for block in range(blocks):
            for lane in range(width):
                known = block * width + lane < classes
                energy[block, point, lane] = energy[block, point, lane] - highest if known else np.float32(-np.inf)


@njit(cache=True, nogil=True)
def divide_by_sum(power: Array) -> None:
    """Make the values of each point, (B, N, W), sum to one."""
    blocks, points, width = power.shape
    for point in range(points):
        total = np.float32(0)
        for block in range(blocks):
            for lane in range(width):
                total += power[block, point, lane]
        scale = np.float32(1) / total
        for block in range(blocks):
            for lane in range(width):
                power[block, point, lane] *= scale
