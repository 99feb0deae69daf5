"""Object features: the mean feature of each class in each photo, from which a tagger of objects is trained."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from igcam.methods.inputs import Inputs
from igcam.refine.stack import resized

Array = NDArray[np.float32]
MIN_SHARE = 0.005
"""Smallest share of a photo that a class must cover for its mean to be used."""


def object_features(inputs: Inputs, probabilities: NDArray[np.floating]) -> tuple[Array, Array]:
    """Return the mean of the last level over the locations of every class that a photo is tagged with.

    Args:
        inputs: Features and tags; with a tag posterior, classes of 0.5 or more count.
        probabilities: (N, C + 1, h, w), background first: predictions of the last stage.

    Returns:
        Means, float32 (n, D), weighted by the probability of each location, and their classes, float32 (n, C) of 0
        and 1. A class that is too small in all photos is kept as it is.
    """
    means: list[Array] = []
    classes: list[int] = []
    sizes: list[float] = []
    for index, allowed in enumerate(inputs.allowed):
        level = inputs.last_level(index)
        for label in np.flatnonzero(allowed >= 0.5):
            chance = resized(probabilities[index, label + 1][None], *level.shape[1:])[0]
            total = float(chance.sum())
            weights = chance / total if total > 0 else np.full_like(chance, 1 / chance.size)
            means.append(np.einsum("dhw,hw->d", level, weights))
            classes.append(int(label))
            sizes.append(total / chance.size)
        inputs.progress("average the features of objects", index + 1, len(inputs.tags))
    large = {label for label, size in zip(classes, sizes, strict=True) if size >= MIN_SHARE}
    kept = [position for position, label in enumerate(classes) if sizes[position] >= MIN_SHARE or label not in large]
    chosen = np.array([means[position] for position in kept], np.float32)
    return chosen, np.eye(inputs.tags.shape[1], dtype=np.float32)[[classes[position] for position in kept]]
