"""Weights of images and pixels from their influence: harmful ones below one, helpful ones above."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from igcam.core.validation import Positive, options

MAD_TO_DEVIATION = 1.4826


@options
class WeightOptions:
    """How influence becomes weights."""

    temperature: Positive = 1.0
    """Influence, in robust standard deviations, at which a weight is 1 -/+ 0.46; larger is smoother."""
    low: float = 0.1
    """Smallest weight, 0 to 1."""
    high: float = 2.0
    """Largest weight, 1 to 2."""

    def __post_init__(self) -> None:
        if not (0 <= self.low <= 1 <= self.high <= 2):
            raise ValueError(f"low, high: must satisfy 0 <= low <= 1 <= high <= 2, got {self.low}, {self.high}")


def robust_scale(influence: ArrayLike) -> float:
    """Return 1.4826 times the median absolute value, which estimates a normal standard deviation about zero.

    Not about the median, because the sign of an influence has a meaning. Where more than half of the values are zero,
    the mean absolute value is used; 0 for zeros only, or no values. A value that is not finite is a ValueError.
    """
    distance = np.abs(_checked(influence))
    if distance.size == 0:
        return 0.0
    return float(MAD_TO_DEVIATION * np.median(distance)) or float(distance.mean())


def influence_weights(
    influence: ArrayLike, options: WeightOptions | None = None, *, scale: float | None = None
) -> np.ndarray:
    """Turn influence of any shape into weights of the same shape with mean one.

    w = 2 sigmoid(-I / (temperature * scale)), clipped to [low, high]. Then the stronger side, the weights above one or
    those below, is shrunk towards one by a common factor until the mean is one. So the weights stay in [low, high],
    decrease with the influence, are at most one for harmful entries (positive influence) and at least one for helpful
    ones. All are one if all influence has the same sign.

    Args:
        influence: Any shape, such as (n, C) for images or (n, C, h, w) for locations.
        options: Defaults to `WeightOptions()`.
        scale: Influence of one standard deviation; None takes `robust_scale`. Give one scale for all images when the
            map of each image is weighted in its own call.

    Returns:
        float32.

    Raises:
        ValueError: A value is not finite, or the scale is negative or not finite.
    """
    options = options or WeightOptions()
    influence = _checked(influence)
    flat = influence.ravel()
    if scale is None:
        scale = robust_scale(flat)
    if not 0 <= scale < np.inf:
        raise ValueError(f"scale: must be finite and at least 0, got {scale}")
    if scale == 0:
        return np.ones(influence.shape, np.float32)
    # 2 sigmoid(-x) = 1 - tanh(x / 2)
    with np.errstate(over="ignore"):
        moves = -np.tanh(flat / scale / (2 * options.temperature))
    moves = np.clip(moves, options.low - 1, options.high - 1)
    gain, loss = moves[moves > 0].sum(), -moves[moves < 0].sum()
    shared = min(gain, loss)
    moves[moves > 0] *= shared / gain if gain else 0.0
    moves[moves < 0] *= shared / loss if loss else 0.0
    return (1 + moves).astype(np.float32).reshape(influence.shape)


def shuffled_weights(weights: ArrayLike, seed: int, groups: ArrayLike | None = None) -> np.ndarray:
    """Permute weights of any shape at random: the control that any gain from influence has to beat.

    Groups are integers, broadcastable to weights, such as the tags: weights are permuted within a group.
    """
    weights = np.asarray(weights)
    groups = np.broadcast_to(0 if groups is None else np.asarray(groups), weights.shape)
    random = np.random.default_rng(seed)
    shuffled = weights.copy()
    for group in np.unique(groups):
        members = groups == group
        shuffled[members] = random.permutation(weights[members])
    return shuffled


def _checked(influence: ArrayLike) -> np.ndarray:
    array = np.asarray(influence, dtype=np.float64)
    if not np.isfinite(array).all():
        raise ValueError("influence: all values must be finite")
    return array
