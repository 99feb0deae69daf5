"""Keeps every tagged class of an image in its probability map."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


def keep_every_tag(
    probability: NDArray[np.floating], tags: NDArray[np.floating], minimum: float, maximum: float = 20.0
) -> Array:
    """Raise each tagged class until it is the most probable one in a minimum fraction of the locations.

    The odds of the class are multiplied by the smallest factor, the same at all locations, that reaches the
    fraction. Classes that have their fraction already are left unchanged.

    Args:
        probability: Float (K, h, w), background first, summing to one.
        tags: (K - 1,), 0 or 1.
        minimum: Fraction of the locations that each tagged class is to win, 0 to 1.
        maximum: Largest factor; a class that needs a larger one is left unchanged.

    Returns:
        float32 (K, h, w), summing to one.
    """
    result = np.asarray(probability, np.float32).copy()
    wanted = round(minimum * result[0].size)
    for label in 1 + np.flatnonzero(tags) if wanted else ():
        others = np.delete(result, label, axis=0).max(axis=0)
        factor = np.sort((others / np.maximum(result[label], 1e-12)).ravel())[wanted - 1]
        if 1 <= factor <= maximum:
            # Slightly more than a tie, so that the class wins.
            result[label] *= factor * np.float32(1.001)
            result /= result.sum(axis=0)
    return result
