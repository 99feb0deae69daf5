"""Maps of one image as few bytes: classes that are there, few bits a value, differences of neighbours, deflate."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

_SIZES = struct.Struct("<HHHBBH")
"""Classes, height, width, bits, flags, number of planes."""
_PLANE = struct.Struct("<Hf")
"""Class and largest value of a plane; the value is negative where the whole plane has it."""
_REST = 1
"""Flag: the first plane is what the others leave of one, and is not stored."""
_DIFFERENCES = 2
"""Flag: values are told as differences from their neighbours."""
_MIN = float(np.finfo(np.float32).tiny)
"""Smaller values count as zero: float32 cannot divide them."""
_ONE = 2e-3
"""How far sums may be from one; half precision reaches it."""

Array = NDArray[np.float32]


def encode_maps(maps: NDArray[np.floating], bits: int = 6) -> bytes:
    """Code the maps of one image.

    A class that is zero everywhere, or below 1.2e-38, costs nothing, one of a single value five bytes. In the
    others a value is kept as a whole number of steps, from 0 to the largest value of its class, so that it is off
    by at most half a step: the largest value / (2^bits - 1) / 2. Where all classes sum to one at every place, as
    soft masks do, the first that is there is left out, and is off by the sum of what the others are off.

    The numbers are told as the differences in both directions, q(y, x) - q(y-1, x) - q(y, x-1) + q(y-1, x-1), or as
    they are, whichever deflate makes smaller.

    Args:
        maps: Float (K, h, w), finite and at least 0; 1 to 65535 each.
        bits: 1 to 8.

    Raises:
        ValueError: The maps or the bits are not so.
    """
    if maps.ndim != 3 or not np.issubdtype(maps.dtype, np.floating) or not all(0 < side < 65536 for side in maps.shape):
        raise ValueError(f"maps must be float (K, h, w) of 1 to 65535 each, got {maps.dtype} {maps.shape}")
    if not 1 <= bits <= 8:
        raise ValueError(f"bits must be 1 to 8, got {bits}")
    values = maps.astype(np.float32)
    if not np.isfinite(values).all() or values.min() < 0:
        raise ValueError("maps must be finite and at least 0")
    values[values < _MIN] = 0
    largest = values.max(axis=(1, 2))
    present = np.flatnonzero(largest > 0)
    rest = len(present) > 1 and bool((np.abs(values.sum(axis=0) - 1) <= _ONE).all())
    steps = (1 << bits) - 1
    planes, table = [], []
    for label in present[1:] if rest else present:
        flat = float(np.ptp(values[label])) <= float(largest[label]) * 1e-6
        table.append(_PLANE.pack(label, -largest[label] if flat else largest[label]))
        if not flat:
            planes.append(np.rint(values[label] / largest[label] * steps).astype(np.int32))
    first = [_PLANE.pack(present[0], 0.0)] if rest else []
    flags, body = _deflate(np.stack(planes), steps) if planes else (0, b"")
    head = _SIZES.pack(*maps.shape, bits, flags | _REST * rest, len(first) + len(table))
    return b"".join([head, *first, *table, body])


def decode_maps(code: bytes) -> Array:
    """Return float32 (K, h, w), what `encode_maps` has kept.

    Raises:
        ValueError: The bytes are no such code.
    """
    try:
        classes, height, width, bits, flags, count = _SIZES.unpack_from(code)
        table = [_PLANE.unpack_from(code, _SIZES.size + _PLANE.size * index) for index in range(count)]
        body = code[_SIZES.size + _PLANE.size * count :]
        rest = table.pop(0)[0] if flags & _REST else None
        stored = [label for label, value in table if value > 0]
        steps = (1 << bits) - 1
        maps = np.zeros((classes, height, width), np.float32)
        if stored:
            # One byte more than is needed, so that what is too long is seen and no bomb goes off.
            content = zlib.decompressobj(-15).decompress(body, len(stored) * height * width + 1)
            numbers = np.frombuffer(content, np.uint8).reshape(len(stored), height, width)
            if flags & _DIFFERENCES:
                numbers = numbers.astype(np.int64).cumsum(axis=1).cumsum(axis=2) % (steps + 1)
            maps[stored] = numbers
        for label, value in table:
            maps[label] = maps[label] * np.float32(value / steps) if value > 0 else -value
        if rest is not None:
            maps[rest] = np.maximum(1 - maps.sum(axis=0), 0)
    except (struct.error, zlib.error, IndexError, ZeroDivisionError, MemoryError) as error:
        raise ValueError(f"is no code of maps: {error}") from error
    return maps


def _deflate(numbers: NDArray[np.int32], steps: int) -> tuple[int, bytes]:
    """Return the flags and the shorter of both codes of whole numbers (P, h, w) in 0..steps."""
    differences = np.diff(np.diff(numbers, axis=1, prepend=0), axis=2, prepend=0) % (steps + 1)
    codes = []
    for flags, values in ((0, numbers), (_DIFFERENCES, differences)):
        for strategy in (zlib.Z_DEFAULT_STRATEGY, zlib.Z_FILTERED):
            deflate = zlib.compressobj(9, zlib.DEFLATED, -15, 9, strategy)
            codes.append((flags, deflate.compress(values.astype(np.uint8).tobytes()) + deflate.flush()))
    return min(codes, key=lambda code: len(code[1]))
