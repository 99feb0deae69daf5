"""Proposals of promptable segmenters: prompts from activation maps, answers checked against the map."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from igcam.core.validation import Fraction, between, options
from igcam.proposals.segments import Image, Masks, SegmentOptions, Segments, tidy

Array = NDArray[np.float32]


@options
class PromptOptions:
    """Points on the peaks of an activation map, boxes around its active regions."""

    min_peak: Fraction = 0.5
    """Smallest activation of a peak."""
    peak_distance: Fraction = 0.15
    """Smallest distance to a higher peak, as a share of the image's sides."""
    max_points: Annotated[int, between(0, 1000)] = 5
    """Largest number of points per activation map; the highest peaks are taken."""
    box_level: Fraction = 0.3
    """Boxes enclose connected locations above this activation."""
    min_box: Fraction = 0.01
    """Smallest connected region that gets a box, as a share of the image."""
    max_boxes: Annotated[int, between(0, 1000)] = 5
    """Largest number of boxes per activation map; the largest regions are taken."""


def peak_points(activation: NDArray[np.floating], options: PromptOptions | None = None) -> Array:
    """Return the peaks of a map (h, w) in 0..1, highest first, float32 (n, 2): x and y in 0..1 of width and height."""
    options = options or PromptOptions()
    height, width = activation.shape
    values = np.asarray(activation, np.float32)
    top = values >= cv2.dilate(values, np.ones((3, 3), np.uint8))
    rows, columns = np.nonzero(top & (values >= options.min_peak) & (values > 0))
    order = np.argsort(-values[rows, columns], kind="stable")
    found = np.stack([(columns[order] + 0.5) / width, (rows[order] + 0.5) / height], axis=1)
    kept: list[NDArray[np.floating]] = []
    for point in found:
        if len(kept) == options.max_points:
            break
        if all(np.linalg.norm(point - other) >= options.peak_distance for other in kept):
            kept.append(point)
    return np.array(kept, np.float32).reshape(-1, 2)


def active_boxes(activation: NDArray[np.floating], options: PromptOptions | None = None) -> Array:
    """Return boxes around the active regions of a map (h, w) in 0..1, the largest first.

    Returns:
        float32 (n, 4): left, top, right and bottom in 0..1 of width and height.
    """
    options = options or PromptOptions()
    height, width = activation.shape
    active = (np.asarray(activation) > options.box_level).astype(np.uint8)
    _, _, facts, _ = cv2.connectedComponentsWithStats(active)
    facts = facts[1:]
    facts = facts[facts[:, cv2.CC_STAT_AREA] >= options.min_box * height * width]
    facts = facts[np.argsort(-facts[:, cv2.CC_STAT_AREA], kind="stable")][: options.max_boxes]
    left, top, across, down = facts[:, :4].T
    boxes = np.stack([left / width, top / height, (left + across) / width, (top + down) / height], axis=1)
    return boxes.astype(np.float32)


class PointAndBoxSegmenter(Protocol):
    """A segmenter that is prompted by points and boxes, such as SAM or SAM 2."""

    def __call__(self, image: Image, points: Array, boxes: Array) -> tuple[Masks, Array]:
        """Segment the object of each prompt.

        Args:
            image: uint8 (H, W, 3), RGB.
            points: float32 (n, 2), x and y in pixels; one object per point.
            boxes: float32 (m, 4), left, top, right and bottom in pixels; one object per box.

        Returns:
            bool (P, H, W), any number of answers per prompt, and their confidence, float32 (P,) in 0..1.
        """
        ...


class ConceptSegmenter(Protocol):
    """A segmenter that is prompted by a noun, such as SAM 3."""

    def __call__(self, image: Image, concept: str) -> tuple[Masks, Array]:
        """Segment all objects of a kind: bool (P, H, W) and their confidence, float32 (P,) in 0..1."""
        ...


@options
class GateOptions:
    """Which answers of a promptable segmenter are kept, and their confidence."""

    min_contrast: Annotated[float, between(-1, 1)] = 0.1
    """Mean activation inside minus that outside, below which an answer is dropped."""
    full_contrast: Annotated[float, between(0.001, 1)] = 0.4
    """Contrast above which the activation map does not lower the confidence."""
    segments: SegmentOptions = field(default_factory=lambda: SegmentOptions(overlap=0.8))
    """Sizes, duplicates, number; of duplicates the one of highest confidence stays."""


def prompted_segments(
    image: Image,
    activation: NDArray[np.floating],
    segmenter: PointAndBoxSegmenter,
    prompts: PromptOptions | None = None,
    gate: GateOptions | None = None,
) -> Segments:
    """Prompt a segmenter at the peaks and around the active regions of one class.

    The photo is uint8 (H, W, 3), the activation float (h, w) in 0..1. The segmenter is called if there is a peak or a
    box. Segments are of the size of the photo; scores are confidences, the highest first.
    """
    height, width = image.shape[:2]
    points = peak_points(activation, prompts) * np.array([width, height], np.float32)
    boxes = active_boxes(activation, prompts) * np.array([width, height] * 2, np.float32)
    if not len(points) and not len(boxes):
        return Segments(np.zeros((0, height, width), bool))
    return gated(*segmenter(image, points, boxes), activation, gate)


def concept_segments(
    image: Image,
    activation: NDArray[np.floating],
    concept: str,
    segmenter: ConceptSegmenter,
    gate: GateOptions | None = None,
) -> Segments:
    """Prompt a segmenter with the name of a tag, underscores read as spaces; scores are confidences.

    The photo is uint8 (H, W, 3), the activation of the class float (h, w) in 0..1.
    """
    return gated(*segmenter(image, concept.replace("_", " ")), activation, gate)


def gated(
    masks: Masks, certainty: Array, activation: NDArray[np.floating], options: GateOptions | None = None
) -> Segments:
    """Keep the answers, bool (P, H, W), that agree with an activation map, float (h, w) in 0..1.

    The confidence is the certainty of the segmenter, float32 (P,), cut off to 0..1, times contrast / full_contrast in
    0..1, where the contrast is the mean activation inside minus that outside.
    """
    options = options or GateOptions()
    contrasts = contrast(masks, activation)
    kept = contrasts >= options.min_contrast
    confidence = np.clip(certainty, 0, 1) * np.clip(contrasts / options.full_contrast, 0, 1)
    return tidy(masks[kept], np.asarray(confidence[kept], np.float32), options.segments)


def contrast(masks: Masks, activation: NDArray[np.floating]) -> Array:
    """Return the mean activation inside minus outside of masks, bool (P, H, W); float32 (P,).

    It is -1 for empty and full masks. The activation, (h, w) in 0..1, is resized to the masks.
    """
    rows, columns = masks.shape[1:]
    full = cv2.resize(np.asarray(activation, np.float32), (columns, rows), interpolation=cv2.INTER_LINEAR).ravel()
    inside = masks.reshape(len(masks), full.size).astype(np.float32)
    area = inside.sum(axis=1)
    summed = inside @ full
    outside = (full.sum() - summed) / np.maximum(full.size - area, 1)
    trivial = (area == 0) | (area == full.size)
    return np.asarray(np.where(trivial, -1, summed / np.maximum(area, 1) - outside), np.float32)
