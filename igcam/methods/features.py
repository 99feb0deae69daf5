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
"""Locations to which the principal components are fitted."""


def views_of(size: int, flip: bool) -> tuple[View, ...]:
    """Return the plain view and, on request, the mirrored one."""
    return (View(size), View(size, flip=True)) if flip else (View(size),)


def build_features(
    bank: FeatureBank, images: Sequence[Path], components: Sequence[int], folder: Path, seed: int, progress: Progress
) -> Reduction:
    """Fill the bank, fit the reduction to these images, and write pooled.npy, reduced.npy and reduction.safetensors.

    Memory holds the features of one image and a sample of locations.
    """
    bank.fill(images, progress=lambda done, total: progress("compute features", done, total))
    random = np.random.default_rng(seed)
    samples: list[list[Array]] = [[] for _ in components]
    for done, image in enumerate(images, start=1):
        for sample, level in zip(samples, bank.read(image), strict=True):
            sample.append(sample_locations(level, max(1, SAMPLED_LOCATIONS // len(images)), random))
        progress("sample features", done, len(images))
    reduction = fit_reduction([np.concatenate(level) for level in samples], components)
    first = bank.read(images[0])
    pooled = np.zeros((len(images), len(first[-1])), np.float32)
    part, shape = folder / "reduced.npy.part", reduce_one(reduction, first).shape
    reduced = open_memory_map(part, (len(bank.views), len(images), *shape))
    for index, image in enumerate(images):
        for row, view in enumerate(bank.views):
            levels = bank.read(image, view)
            pooled[index] += levels[-1].astype(np.float32).mean(axis=(1, 2)) / len(bank.views)
            reduced[row, index] = reduce_one(reduction, levels)
        progress("reduce features", index + 1, len(images))
    write_array(folder / "pooled.npy", pooled)
    reduced.flush()
    os.replace(part, folder / "reduced.npy")
    write_tensors(folder / "reduction.safetensors", reduction.tensors())
    return reduction


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
