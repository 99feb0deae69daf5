"""From probabilities to targets: snapped to the colours of the photo by a dense CRF, with trust."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from igcam.errors import check_ranges
from igcam.methods.inputs import Inputs
from igcam.refine.crf import CRF_PRESETS, CRFParameters, dense_crf
from igcam.refine.stack import margin, resized

Array = NDArray[np.float32]


@dataclass(frozen=True)
class RetargetOptions:
    """How predictions become what the next head learns."""

    size: int = 192
    """Side in pixels of the square at which the CRF runs; 0 leaves the CRF out."""
    crf: CRFParameters = field(default_factory=lambda: CRF_PRESETS["irn"])
    """For photos of about 400 pixels; the widths shrink with the size."""
    trust_floor: float = 0.1
    """Trust of a place where two classes are equally probable; it grows to one with their margin."""
    workers: int = 2
    """Threads."""

    def __post_init__(self) -> None:
        check_ranges(self, size=(0, 4096), trust_floor=(0, 1), workers=(1, 1024))


def retarget(
    inputs: Inputs, indices: NDArray[np.int64], probabilities: Array, options: RetargetOptions
) -> tuple[Array, Array]:
    """Turn probabilities into targets and trust.

    Args:
        inputs: The photos.
        indices: int64 (n,), the images that `probabilities` are of.
        probabilities: float32 (n, K, h, w).
        options: See there.

    Returns:
        float32 (n, K, h, w) and float32 (n, h, w).
    """
    targets = np.empty_like(probabilities)

    def work(row: int) -> None:
        targets[row] = probabilities[row]
        if options.size:
            image = inputs.image(int(indices[row]), options.size)
            targets[row] = snap(probabilities[row], image, options.crf.scaled(options.size / 400))

    for done, _ in enumerate(_parallel(work, len(indices), options.workers)):
        inputs.progress("refine the targets", done + 1, len(indices))
    trust = np.array([margin(target) for target in targets], np.float32).reshape(len(targets), *targets.shape[2:])
    return targets, options.trust_floor + (1 - options.trust_floor) * trust


def snap(probability: Array, image: NDArray[np.uint8], parameters: CRFParameters) -> Array:
    """Run the CRF over the classes that occur, at the image's size; return the map at its own size."""
    classes, height, width = probability.shape
    present = np.flatnonzero(probability.reshape(classes, -1).max(axis=1) > 0)
    if len(present) < 2:
        return probability
    refined = dense_crf(image, resized(probability[present], *image.shape[:2]), parameters)
    result = np.zeros_like(probability)
    result[present] = resized(refined, height, width, cv2.INTER_AREA)
    return result / result.sum(axis=0)


def _parallel(work: Callable[[int], None], count: int, workers: int) -> Iterator[None]:
    with ThreadPoolExecutor(max(1, workers)) as threads:
        yield from threads.map(work, range(count))
