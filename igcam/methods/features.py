"""Step `features`: pooled and reduced features of all images of a run, from the feature bank."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from igcam.core.files import open_memory_map, write_array, write_tensors
from igcam.core.progress import Progress
from igcam.models.bank import FeatureBank
from igcam.models.reduction import Reduction, fit_reduction, sample_locations
from igcam.models.views import View, mean_over_views

Array = NDArray[np.float32]

SAMPLED_LOCATIONS = 40_000
"""Places that the principal components are fitted to."""


def views_of(size: int, flip: bool) -> tuple[View, ...]:
    """Return the plain view and, on request, the mirrored one."""
    return (View(size), View(size, flip=True)) if flip else (View(size),)


def build_features(
    bank: FeatureBank, images: Sequence[Path], components: Sequence[int], folder: Path, seed: int, progress: Progress
) -> Reduction:
    """Fill the bank, fit the reduction to these images, and write pooled.npy and reduced.npy.

    Memory holds the features of one image and a sample of places.
    """
    bank.fill(images, progress=lambda done, total: progress("compute features", done, total))
    random = np.random.default_rng(seed)
    per_image = max(1, SAMPLED_LOCATIONS // len(images))
    samples: list[list[Array]] = [[] for _ in components]
    for done, image in enumerate(images):
        for levels, level in zip(samples, bank.read(image), strict=True):
            levels.append(sample_locations(level, per_image, random))
        progress("sample features", done + 1, len(images))
    reduction = fit_reduction([np.concatenate(level) for level in samples], components)
    pooled, reduced = reduce_images(bank, images, reduction, folder / "reduced.npy.part", progress)
    write_array(folder / "pooled.npy", pooled)
    reduced.flush()
    os.replace(folder / "reduced.npy.part", folder / "reduced.npy")
    write_tensors(folder / "reduction.safetensors", reduction.tensors())
    return reduction


def reduce_images(
    bank: FeatureBank, images: Sequence[Path], reduction: Reduction, file: Path, progress: Progress
) -> tuple[Array, np.memmap]:
    """Return pooled features (N, D) and the reduced ones, float16 (V, N, k, h, w), mapped from a new file."""
    pooled: Array | None = None
    mapped = None
    for index, image in enumerate(images):
        for row, view in enumerate(bank.views):
            levels = bank.read(image, view)
            mean = levels[-1].astype(np.float32).mean(axis=(1, 2)) / len(bank.views)
            reduced = reduce_one(reduction, levels)
            if pooled is None or mapped is None:
                pooled = np.zeros((len(images), len(mean)), np.float32)
                mapped = open_memory_map(file, (len(bank.views), len(images), *reduced.shape))
            pooled[index] += mean
            mapped[row, index] = reduced
        progress("reduce features", index + 1, len(images))
    if pooled is None or mapped is None:
        raise ValueError("images must not be empty")
    return pooled, mapped


def reduce_one(reduction: Reduction, levels: Sequence[NDArray[np.float16]]) -> NDArray[np.float32]:
    """Reduce the levels of one view of one image: float32 (k, h, w)."""
    batch = [torch.from_numpy(level.astype(np.float32))[None] for level in levels]
    reduced: NDArray[np.float32] = reduction(batch)[0].numpy()
    return reduced


def mean_level(bank: FeatureBank, image: Path, level: int = -1) -> Array:
    """Return one level of an image, float32 (D, h, w), mean over the views, mirrored back."""
    maps = [torch.from_numpy(bank.read(image, view)[level].astype(np.float32)) for view in bank.views]
    mean: Array = mean_over_views(maps, [view.flip for view in bank.views]).numpy()
    return mean
