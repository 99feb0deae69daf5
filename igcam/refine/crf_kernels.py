"""The two passes of a softmax over labels that lie in blocks, compiled on first use and kept on disk."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.float32]


@njit(cache=True, nogil=True)
def add_and_shift(energy: Array, log_unary: Array, classes: int) -> None:
    """Add the unary to the energy, (B, N, W), and take each point's maximum off; padding becomes minus infinity."""
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
