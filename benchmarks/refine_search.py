"""Rows of benchmarks/refine.py: does the choice by the majority agree with the true masks?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from refine_rivals import enlarge
from scipy.stats import spearmanr

from igcam.refine import CRF_PRESETS, CRFParameters, PyramidOptions, dense_crf, sharpen
from igcam.refine.filters import guided_filter
from igcam.refine.selection import Example, Refiner, search

Array = NDArray[np.float32]
OTHERS = ((64, 5, 1), (64, 5, 20), (20, 5, 4), (200, 5, 4), (64, 20, 4), (64, 2, 4), (30, 30, 10))
WIDER = {
    f"crf {width} {colour} {weight}": CRFParameters(3, 3, width, colour, weight) for width, colour, weight in OTHERS
}


def choices(images: list[NDArray[np.uint8]], deep: list[Array]) -> dict[str, Refiner]:
    """Return 20 refiners: presets and other parameters of the CRF, and pyramids."""

    def crf(parameters: CRFParameters) -> Refiner:
        return lambda index, stack: dense_crf(images[index], np.clip(enlarge(images[index], stack), 0, 1), parameters)

    def pyramid(options: PyramidOptions, features: bool = True) -> Refiner:
        return lambda index, stack: (
            sharpen(images[index], stack, options=options, deep=deep[index] if features else None)[-1].probability
        )

    def guided(index: int, stack: Array) -> Array:
        full = enlarge(images[index], stack)
        return guided_filter(images[index], full / full.sum(axis=0), 16)

    usual = PyramidOptions()
    return {
        "bilinear": lambda index, stack: enlarge(images[index], stack),
        **{name: crf(parameters) for name, parameters in {**CRF_PRESETS, **WIDER}.items()},
        "guided filter": guided,
        "pyramid": pyramid(usual),
        "pyramid by colour": pyramid(usual, features=False),
        "pyramid without its dense level": pyramid(replace(usual, dense=replace(usual.dense, side=0))),
        "pyramid, strong restart": pyramid(replace(usual, restart=0.4, dense=replace(usual.dense, restart=0.5))),
    }


def once(refiner: Refiner) -> Refiner:
    """Keep the best classes of each image, so that they are computed once for both ways of choosing."""
    kept: dict[int, NDArray[np.uint8]] = {}

    def answer(index: int, stack: Array) -> Array:
        if index not in kept:
            kept[index] = refiner(index, stack).argmax(axis=0).astype(np.uint8)
        return (kept[index] == np.arange(len(stack))[:, None, None]).astype(np.float32)

    return answer


def agreement(
    add: Callable[..., None],
    name: str,
    images: list[NDArray[np.uint8]],
    deep: list[Array],
    maps: list[Array],
    masks: list[NDArray[np.uint8]],
) -> None:
    """Add how the score by the majority of the others goes with the mean IoU, over all choices."""
    refiners = {key: once(refiner) for key, refiner in choices(images, deep).items()}
    majority = search(refiners, [Example(stack) for stack in maps], workers=2)
    true = search(refiners, [Example(stack, mask) for stack, mask in zip(maps, masks, strict=True)], workers=2)
    names = list(refiners)
    note = f"{len(names)} refiners, {len(images)} images; chosen: {next(iter(majority))}; best: {next(iter(true))}"
    rank = spearmanr([majority[key] for key in names], [true[key] for key in names]).statistic
    add(f"search/majority/{name}/spearman", float(rank), "", note)
    add(f"search/majority/{name}/miou-below-best", 100 * (max(true.values()) - true[next(iter(majority))]), "%", note)
    for key in names:
        add(f"search/majority/{name}/{key}/score", 100 * majority[key], "%", f"true mIoU {100 * true[key]:.2f}")
