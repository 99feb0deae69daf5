"""Object proposals: class-agnostic segments, weighed by how well the activation map tells them apart."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from igcam.errors import check_ranges

Array = NDArray[np.float32]


@dataclass(frozen=True)
class ProposalOptions:
    """Which segments count as objects, and how sharply the better ones are preferred."""

    border: float = 0.5
    """Cost of covering the image's border: objects are rarely cut off all around."""
    sharpness: float = 10.0
    """Segments are weighed by exp(sharpness * score)."""
    least_area: float = 0.02
    """Share of the image below which a segment is no object."""
    most_area: float = 0.9
    """Share of the image above which it is none."""

    def __post_init__(self) -> None:
        check_ranges(self, border=(0, math.inf), sharpness=(0, math.inf), least_area=(0, 1), most_area=(0, 1))


def object_coverage(
    cuts: NDArray[np.floating], activation: NDArray[np.floating], options: ProposalOptions | None = None
) -> Array:
    """Return how far each place is covered by segments that the activation map prefers.

    Every cut gives two segments, its sides by Otsu's threshold. A segment scores with the mean activation
    inside minus that outside, minus a cost for its share of the image's border; the coverage is the mean of
    the segments weighed by exp(sharpness * score).

    Args:
        cuts: Float (K, h, w), of any scale and sign, such as `normalised_cut` returns.
        activation: Float (h, w) in 0..1: the strongest activation of any tagged class.
        options: Defaults to `ProposalOptions()`.

    Returns:
        float32 (h, w) in 0..1; zero where no segment has a fit size.

    Raises:
        ValueError: Shapes differ.
    """
    options = options or ProposalOptions()
    if cuts.ndim != 3 or cuts.shape[1:] != activation.shape:
        raise ValueError(f"cuts: must be (K, h, w) for an activation of {activation.shape}, got {cuts.shape}")
    segments = [side for cut in cuts for side in _sides(cut)]
    scores = [segment_score(segment, activation, options.border) for segment in segments]
    fit = [
        (segment, score)
        for segment, score in zip(segments, scores, strict=True)
        if options.least_area <= segment.mean() <= options.most_area
    ]
    if not fit:
        return np.zeros(activation.shape, np.float32)
    best = max(score for _, score in fit)
    weights = np.array([np.exp(options.sharpness * (score - best)) for _, score in fit])
    stack = np.stack([segment for segment, _ in fit]).astype(np.float32)
    return np.tensordot(weights / weights.sum(), stack, 1).astype(np.float32)


def segment_score(segment: NDArray[np.bool_], activation: NDArray[np.floating], border: float) -> float:
    """Return the mean activation inside a segment minus that outside, minus its border cost."""
    if segment.all() or not segment.any():
        return -np.inf
    edge = np.concatenate([segment[0], segment[-1], segment[:, 0], segment[:, -1]])
    return float(activation[segment].mean() - activation[~segment].mean() - border * edge.mean())


def _sides(cut: NDArray[np.floating]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Split a cut by Otsu's threshold between its first and last percentile."""
    low, high = np.percentile(cut, (1, 99))
    levels = np.clip((cut - low) / max(float(high - low), 1e-9) * 255, 0, 255).astype(np.uint8)
    threshold, _ = cv2.threshold(levels.reshape(-1, 1), 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    side = levels > threshold
    return side, ~side
