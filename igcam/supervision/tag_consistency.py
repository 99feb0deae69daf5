"""Tag consistency: every tag of an image is the best class of some of its locations."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


def keep_every_tag(
    probability: NDArray[np.floating], tags: NDArray[np.floating], minimum: float, maximum: float = 20.0
) -> Array:
    """Raise each tagged class that is hardly ever the best one, until it is so in a share of the locations.

    The odds of such a class are multiplied everywhere by one factor: the smallest with which it takes its share, which
    it takes where it comes nearest to the others. Classes that have their share are unchanged.

    Args:
        probability: Float (K, h, w), background first, summing to one.
        tags: (K - 1,) of 0 and 1.
        minimum: Share of the locations that each tagged class is to have, 0 to 1.
        maximum: Largest factor; a class that would need a larger one is unchanged.

    Returns:
        float32 (K, h, w), summing to one.
    """
    result = np.asarray(probability, np.float32).copy()
    wanted = round(minimum * result[0].size)
    for label in 1 + np.flatnonzero(tags) if wanted else ():
        others = np.delete(result, label, axis=0).max(axis=0)
        # The factor that each location lacks.
        short = np.sort((others / np.maximum(result[label], 1e-12)).ravel())[wanted - 1]
        if 1 <= short <= maximum:
            # A little more than even, so that it is the best class there.
            result[label] *= short * np.float32(1.001)
            result /= result.sum(axis=0)
    return result
