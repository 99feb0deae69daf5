"""Coverage targets: for each place, how probable every class is, and how far that is to be trusted."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


def from_activation(
    activation: NDArray[np.floating],
    coverage: NDArray[np.floating],
    *,
    propagated: NDArray[np.floating] | None = None,
    level: float = 0.4,
    slope: float = 8.0,
) -> Array:
    """Join activation maps and the coverage by proposals to probabilities.

    The foreground is sigmoid(slope * (m - level)) with m the mean of the coverage and the strongest
    activation; it is shared among the classes by the squares of their activations, or of what they spread to.

    Args:
        activation: Float (C, h, w) in 0..1, zero for classes that the image is not tagged with.
        coverage: Float (h, w) in 0..1.
        propagated: Float (C, h, w), at least 0: activations spread over their surroundings, which tell the class
            where no activation is near; None for the activations themselves.
        level: Where foreground and background are equally probable.
        slope: How fast certainty grows beside that.

    Returns:
        float32 (C + 1, h, w), background first, summing to one; all background where no class is tagged.
    """
    tagged = activation.reshape(len(activation), -1).max(axis=1) > 0
    result = np.zeros((len(activation) + 1, *activation.shape[1:]), np.float32)
    if not tagged.any():
        result[0] = 1
        return result
    constraint = (activation.max(axis=0) + coverage) / 2
    foreground = 1 / (1 + np.exp(-slope * (constraint - level)))
    # Shares stay defined where every map is zero.
    shares = (activation[tagged] + 1e-3) ** 2 if propagated is None else (propagated[tagged] + 1e-6) ** 2
    result[1:][tagged] = foreground * shares / shares.sum(axis=0)
    result[0] = 1 - foreground
    return result


def restrict_to_tags(probability: NDArray[np.floating], tags: NDArray[np.floating]) -> Array:
    """Give the objects of an image to the classes that it is tagged with.

    What is an object stays one: an animal that looks like a dog, in an image tagged `cow` alone, is a cow rather than
    background. With p_0 for the background, p_c for the classes and t_c for their tags,

        p'_0 = p_0 / z,    p'_c = (1 - p_0) t_c p_c t_c / sum_k p_k t_k / z,    k = 1..C

    where z makes the sum one: it is one itself where tags are sure.

    Args:
        probability: Float (..., C + 1, h, w), background first, summing to one.
        tags: (..., C) of 0 and 1, or between: a class counts as far as its tag is believed.

    Returns:
        float32 of the same shape, summing to one; all background without any tag.
    """
    probability = np.asarray(probability, np.float32)
    believed = np.asarray(tags, np.float32)[..., None, None]
    classes = probability[..., 1:, :, :] * believed
    total = classes.sum(axis=-3, keepdims=True)
    # What is surely another class goes to all tagged ones alike.
    alike = believed / np.maximum(believed.sum(axis=-3, keepdims=True), np.float32(1e-12))
    shares = np.where(total > 0, classes / np.where(total > 0, total, 1), alike)
    background = probability[..., :1, :, :]
    kept = np.concatenate([background, (1 - background) * shares * believed], axis=-3)
    left = kept.sum(axis=-3, keepdims=True)
    kept[..., :1, :, :] += left == 0
    return (kept / np.where(left == 0, 1, left)).astype(np.float32, copy=False)
