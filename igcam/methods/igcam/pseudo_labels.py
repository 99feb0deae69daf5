"""From probabilities to targets: in agreement with the cues, snapped to the colours of the photo, with trust."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from igcam.core.errors import check_ranges
from igcam.core.parallel import in_parallel
from igcam.methods.igcam.condition import condition
from igcam.methods.inputs import Inputs
from igcam.refine.crf import CRF_PRESETS, CRFParameters, dense_crf
from igcam.refine.stack import margin, resized
from igcam.supervision.constraints import CueConstraint, constrain, replace_by_mask
from igcam.supervision.marks import MarkOptions

Array = NDArray[np.float32]


@dataclass(frozen=True)
class PseudoLabelOptions:
    """How predictions become what the next head learns."""

    size: int = 192
    """Side in pixels of the square at which the CRF runs; 0 leaves the CRF out."""
    crf: CRFParameters = field(default_factory=lambda: CRF_PRESETS["irn"])
    """For photos of about 400 pixels; the widths shrink with the size."""
    marks: MarkOptions = field(default_factory=MarkOptions)
    """How far points, scribbles and masks of single objects spread."""
    min_confidence: float = 0.1
    """Trust of a place where two classes are equally probable; it grows to one with their margin."""
    workers: int = 2
    """Threads."""

    def __post_init__(self) -> None:
        check_ranges(self, size=(0, 4096), min_confidence=(0, 1), workers=(1, 1024))


def update_pseudo_labels(
    inputs: Inputs, indices: NDArray[np.int64], probabilities: Array, options: PseudoLabelOptions
) -> tuple[Array, Array]:
    """Turn probabilities into targets and trust.

    Places of a whole mask are what it says, with its trust, and nothing else about them counts.

    Args:
        inputs: The photos and cues.
        indices: int64 (n,), the images that `probabilities` are of.
        probabilities: float32 (n, K, h, w).
        options: See there.

    Returns:
        float32 (n, K, h, w) and float32 (n, h, w).
    """
    constraints = [inputs.constraint(int(index)) for index in indices]
    targets = np.empty_like(probabilities)

    def work(row: int) -> None:
        constraint = constraints[row]
        if constraint is not None and constraint.whole:
            targets[row] = replace_by_mask(probabilities[row], constraint)
            return
        index = int(indices[row])
        targets[row] = condition(inputs, index, probabilities[row], options.marks)
        if options.size:
            fine = inputs.constraint(index, (options.size, options.size))
            image = inputs.image(index, options.size)
            targets[row] = snap(targets[row], image, options.crf.scaled(options.size / 400), fine)

    for done, _ in enumerate(in_parallel(work, range(len(indices)), options.workers)):
        inputs.progress("refine the targets", done + 1, len(indices))
    confidence = np.empty(targets[:, 0].shape, np.float32)
    for row, constraint in enumerate(constraints):
        confidence[row] = options.min_confidence + (1 - options.min_confidence) * margin(targets[row])
        if constraint is not None and constraint.whole:
            confidence[row] = constraint.confidence
        elif constraint is not None:
            targets[row] = constrain(targets[row], constraint)
            confidence[row] = np.maximum(confidence[row], constraint.confidence)
    return targets, confidence


def snap(
    probability: Array, image: NDArray[np.uint8], parameters: CRFParameters, constraint: CueConstraint | None = None
) -> Array:
    """Run the CRF over the classes that occur, at the image's size; return the map at its own size.

    Args:
        probability: float32 (K, h, w).
        image: uint8 (H, W, 3).
        parameters: Of the CRF.
        evidence: Cues on a grid of (H, W) places, kept before and after.
    """
    classes, height, width = probability.shape
    present = np.flatnonzero(probability.reshape(classes, -1).max(axis=1) > 0)
    if len(present) < 2:
        return probability
    full = np.zeros((classes, *image.shape[:2]), np.float32)
    full[present] = resized(probability[present], *image.shape[:2])
    if constraint is not None:
        full = constrain(full, constraint)
    full[present] = dense_crf(image, full[present], parameters)
    if constraint is not None:
        full = constrain(full, constraint)
    result = np.zeros_like(probability)
    result[present] = resized(full[present], height, width, cv2.INTER_AREA)
    return result / result.sum(axis=0)
