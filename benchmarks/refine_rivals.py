"""What the pyramid is compared with in benchmarks/refine.py, on the same seeds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from igcam.refine import CRF_PRESETS, AffinityOptions, dense_crf, local_affinity, sharpen, walk
from igcam.refine.filters import guided_filter
from igcam.refine.stack import resized

Array = NDArray[np.float32]
Refiner = Callable[[NDArray[np.uint8], Array, Array], Array]
"""Photo, coarse map (K, h, w) and deep features (D, h, w) -> map at the photo's size."""


def enlarge(image: NDArray[np.uint8], stack: Array) -> Array:
    """Return a map at the size of the photo, bilinearly."""
    return resized(stack, *image.shape[:2])


def crf_alone(image: NDArray[np.uint8], stack: Array, deep: Array) -> Array:
    """Refine by the CRF that the pipeline ends with."""
    return dense_crf(image, np.clip(enlarge(image, stack), 0, 1), CRF_PRESETS["afa"])


def colours_alone(image: NDArray[np.uint8], stack: Array, deep: Array) -> Array:
    """Refine by the pyramid without features of a network."""
    return sharpen(image, stack)[-1].probability


def pyramid_and_crf(image: NDArray[np.uint8], stack: Array, deep: Array) -> Array:
    """Refine by both, as the pipeline does."""
    return dense_crf(image, np.clip(sharpen(image, stack, deep=deep)[-1].probability, 0, 1), CRF_PRESETS["afa"])


def pixel_adaptive(image: NDArray[np.uint8], stack: Array, deep: Array) -> Array:
    """Refine as PAR (AFA, CVPR 2022): ten steps along local affinities of colour."""
    full = enlarge(image, stack)
    return walk(local_affinity(image, options=AffinityOptions()), full.reshape(len(full), -1), 10).reshape(full.shape)


def pixel_adaptive_masks(image: NDArray[np.uint8], stack: Array, deep: Array) -> Array:
    """Refine as PAMR (Araslanov and Roth, CVPR 2020): the same with absolute differences."""
    full = enlarge(image, stack)
    height, width = image.shape[:2]
    offsets = [
        (dy * d, dx * d) for d in (1, 2, 4, 8, 12, 24) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0)
    ]
    colours = np.moveaxis(image, -1, 0).astype(np.float32)

    def shifted(layers: Array) -> Array:
        padded = np.pad(layers, ((0, 0), (24, 24), (24, 24)), mode="edge")
        return np.stack([padded[:, 24 + dy : 24 + dy + height, 24 + dx : 24 + dx + width] for dy, dx in offsets])

    around = shifted(colours)
    logits = -(np.abs(around - colours) / (1e-8 + 0.1 * around.std(axis=0))).mean(axis=1)
    weights = np.exp(logits - logits.max(axis=0))
    weights /= weights.sum(axis=0)
    for _ in range(10):
        full = np.einsum("nyx,nkyx->kyx", weights, shifted(full))
    return full


def guided(image: NDArray[np.uint8], stack: Array, deep: Array) -> Array:
    """Refine by a guided filter of 16 pixels."""
    full = enlarge(image, stack)
    return guided_filter(image, full / full.sum(axis=0), 16)


RIVALS: dict[str, Refiner] = {
    "crf": crf_alone,
    "pamr": pixel_adaptive_masks,
    "par": pixel_adaptive,
    "guided-filter": guided,
    "pyramid-by-colour": colours_alone,
    "pyramid-and-crf": pyramid_and_crf,
}
