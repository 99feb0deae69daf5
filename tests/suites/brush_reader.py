"""A reader of Label Studio's brush, for tests."""

from __future__ import annotations

import numpy as np


def brush_region(code: list[int], height: int, width: int) -> np.ndarray:
    """Read Label Studio's brush by its definition, bit by bit."""
    bits = "".join(f"{byte:08b}" for byte in code)
    position = 0

    def number(count: int) -> int:
        nonlocal position
        position += count
        return int(bits[position - count : position], 2)

    total, word = number(32), number(5) + 1
    sizes = [number(4) + 1 for _ in range(4)]
    values: list[int] = []
    while len(values) < total:
        same, length = number(1), number(sizes[number(2)]) + 1
        values += [number(word)] * length if same else [number(word) for _ in range(length)]
    assert len(values) == total
    assert len(bits) - position < 8
    return np.array(values).reshape(height, width, 4)
