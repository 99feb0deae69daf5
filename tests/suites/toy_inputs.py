"""Inputs whose features tell the classes apart: rectangles of one direction on a background of another."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from igcam.data.cue import Cue, MaskCue
from igcam.methods.inputs import Inputs
from igcam.supervision.constraints import AnnotatedImage

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
        annotated={index: toy_drawn(truth[index]) for index in taught},
        seed=seed,
    )


@dataclass(frozen=True)
class ToyMask:
    """A mask in memory; a `MaskSource`."""

    mask: np.ndarray

    def read(self) -> np.ndarray:
        return self.mask


def toy_drawn(mask: np.ndarray, *cues: Cue, confidence: float = 1.0) -> AnnotatedImage:
    """Return cues for an image of the size of the maps, by default its whole mask."""
    return AnnotatedImage(cues or (MaskCue(source=ToyMask(mask), confidence=confidence),), *mask.shape, CLASSES)


def toy_targets(masks: np.ndarray) -> np.ndarray:
    """Return the one-hot targets of masks, float32 (N, K, h, w)."""
    return np.stack([mask == np.arange(CLASSES + 1)[:, None, None] for mask in masks]).astype(np.float32)
