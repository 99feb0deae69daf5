"""What a few given masks count beside many guesses, which would drown them."""

from __future__ import annotations

import math


def mask_weight_factor(masked: float, guessed: float, share: float, maximum: float = math.inf) -> float:
    """Return the factor, at least 1, that gives the places of masks their share of all that counts.

    Args:
        masked: Sum of what the places of given masks count.
        guessed: The same of all others.
        share: What the masks are to have of both together, 0 to below 1.
        most: Largest factor.
    """
    wanted = share / (1 - share) * guessed
    return min(max(wanted / max(masked, 1e-6), 1.0), maximum)
