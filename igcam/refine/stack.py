"""Stacks of class maps: resizing, best class, margin and checks."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


def resized(stack: NDArray[np.floating], height: int, width: int, interpolation: int = cv2.INTER_LINEAR) -> Array:
    """Resize every channel of (K, h, w), bilinearly by default; return float32 (K, height, width)."""
    size = (width, height)
    return np.stack([cv2.resize(np.asarray(layer, np.float32), size, interpolation=interpolation) for layer in stack])


def best_class(scores: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Return the index of the largest of the classes of (K, h, w), the first of equal ones; uint8 (h, w), K <= 256."""
    # Much faster than argmax over the short first axis.
    best = np.array(scores[0])
    index = np.zeros(best.shape, np.uint8)
    for number, layer in enumerate(scores[1:], start=1):
        higher = layer > best
        np.copyto(best, layer, where=higher)
        np.copyto(index, np.uint8(number), where=higher)
    return index


def margin(scores: NDArray[np.floating]) -> Array:
    """Return best - second best over the classes of (K, ...), float32 in 0..1; 1 where there is one class only."""
    if len(scores) == 1:
        return np.ones(scores.shape[1:], np.float32)
    # Much faster than a partial sort over the short first axis.
    first, second, *others = np.asarray(scores, np.float32)
    best, next_best = np.maximum(first, second), np.minimum(first, second)
    for other in others:
        np.maximum(next_best, np.minimum(best, other), out=next_best)
        np.maximum(best, other, out=best)
    return np.asarray(np.clip(best - next_best, 0, 1), np.float32)


def check_image(image: NDArray[np.uint8]) -> None:
    """Raise a ValueError unless an image is uint8 (H, W, 3)."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise ValueError(f"image: must be uint8 (H, W, 3), got {image.dtype} {image.shape}")


def check_probability(probability: NDArray[np.floating]) -> None:
    """Raise a ValueError unless probabilities (K, h, w) are finite floats that sum to one over the classes."""
    if not np.issubdtype(probability.dtype, np.floating) or not np.isfinite(probability).all():
        raise ValueError(f"probability: must be finite floats, got {probability.dtype} or NaN or infinity")
    total = probability.sum(axis=0)
    if probability.min() < -1e-4 or np.abs(total - 1).max() > 1e-3:
        raise ValueError(
            "probability: must be at least 0 and sum to one over the classes, "
            f"got a minimum of {probability.min():.6g} and sums {total.min():.6g}..{total.max():.6g}"
        )
