"""Inputs whose features tell the classes apart: rectangles of one direction on a background of another."""

from __future__ import annotations

import cv2
import numpy as np

from igcam.guidance.targets import Target
from igcam.methods.inputs import Inputs

SIDE = 8
CLASSES = 2
DEPTH = 6


def toy_masks(count: int, seed: int = 0) -> np.ndarray:
    """Return uint8 (count, 8, 8) masks with one rectangle each: image i shows class i % 2."""
    random = np.random.default_rng(seed)
    masks = np.zeros((count, SIDE, SIDE), np.uint8)
    for index, mask in enumerate(masks):
        top, left = random.integers(1, 4, 2)
        height, width = random.integers(3, 5, 2)
        mask[top : top + height, left : left + width] = 1 + index % CLASSES
    return masks


def toy_inputs(count: int = 12, seed: int = 0, noise: float = 0.1, taught: tuple[int, ...] = ()) -> Inputs:
    """Return inputs for the masks of the same seed; the `taught` images are given theirs."""
    truth = toy_masks(count, seed)
    random = np.random.default_rng(seed + 1)
    directions = np.eye(DEPTH, dtype=np.float32)[:3] + 0.1
    features = directions[truth].transpose(0, 3, 1, 2)
    features = features + noise * random.normal(size=features.shape).astype(np.float32)
    colours = np.array([[90, 140, 90], [220, 60, 40], [40, 60, 220]], np.uint8)
    tags = np.stack([(truth == index).any(axis=(1, 2)) for index in (1, 2)], axis=1).astype(np.float32)

    def image(index: int, size: int) -> np.ndarray:
        return cv2.resize(colours[truth[index]], (size, size), interpolation=cv2.INTER_NEAREST)

    return Inputs(
        tags=tags,
        pooled=features.mean(axis=(2, 3)),
        reduced=np.stack([features, features[..., ::-1]]).astype(np.float16),
        last_level=lambda index: features[index],
        grouping=lambda index: features[index],
        image=image,
        masks={index: toy_target(truth[index]) for index in taught},
        seed=seed,
    )


def toy_target(mask: np.ndarray, trust: float = 1.0) -> Target:
    """Return the one-hot target of a mask, of one trust everywhere."""
    one_hot = (mask == np.arange(CLASSES + 1)[:, None, None]).astype(np.float32)
    return Target(one_hot, np.full(mask.shape, trust, np.float32))


def toy_targets(masks: np.ndarray) -> np.ndarray:
    """Return the one-hot targets of masks, float32 (N, K, h, w)."""
    return np.stack([toy_target(mask).probability for mask in masks])
