"""A guard of the rounds: what an image is tagged with is somewhere in it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


def keep_every_tag(
    probability: NDArray[np.floating], tags: NDArray[np.floating], minimum: float, maximum: float = 20.0
) -> Array:
    """Raise each tagged class that is the most probable one almost nowhere, until it is so in a share of the places.

    The odds of such a class are multiplied everywhere by one factor: the smallest with which it takes its share, and
    so the places where it comes nearest to the others. Classes that have their share are not touched.

    Args:
        probability: Float (K, h, w), background first, summing to one.
        tags: (K - 1,) of 0 and 1.
        least: Share of the places that each tagged class is to have, 0 to 1.
        most: Largest factor: a class that is nowhere near is left where it is.

    Returns:
        float32 (K, h, w), summing to one.
    """
    result = np.asarray(probability, np.float32).copy()
    wanted = round(minimum * result[0].size)
    for label in 1 + np.flatnonzero(tags) if wanted else ():
        others = np.delete(result, label, axis=0).max(axis=0)
        # By what each place falls short of being of this class.
        short = np.sort((others / np.maximum(result[label], 1e-12)).ravel())[wanted - 1]
        if 1 <= short <= maximum:
            # A little more than even, so that it is the most probable one there.
            result[label] *= short * np.float32(1.001)
            result /= result.sum(axis=0)
    return result
