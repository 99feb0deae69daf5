"""Proposals of promptable segmenters, prompted by activation maps and believed as far as the maps agree."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from igcam.core.errors import check_ranges
from igcam.proposals.prompts import PromptOptions, active_boxes, peak_points
from igcam.proposals.segments import Image, Masks, SegmentOptions, Segments, tidy

Array = NDArray[np.float32]


class PointAndBoxSegmenter(Protocol):
    """A segmenter that is prompted by a place, such as SAM or SAM 2."""

    def __call__(self, image: Image, points: Array, boxes: Array) -> tuple[Masks, Array]:
        """Segment what each prompt shows.

        Args:
            image: uint8 (H, W, 3), RGB.
            points: float32 (n, 2), x and y in pixels; one object a point.
            boxes: float32 (m, 4), left, top, right and bottom in pixels; one object a box.

        Returns:
            bool (P, H, W), any number of answers a prompt, and float32 (P,) in 0..1: how sure the segmenter is.
        """
        ...


class ConceptSegmenter(Protocol):
    """A segmenter that is prompted by a noun, such as SAM 3."""

    def __call__(self, image: Image, concept: str) -> tuple[Masks, Array]:
        """Segment all objects of a kind: bool (P, H, W) and float32 (P,) in 0..1, as above."""
        ...


@dataclass(frozen=True)
class GateOptions:
    """Which answers of a segmenter are believed, and how far."""

    min_contrast: float = 0.1
    """Mean activation inside minus that outside, below which an answer is dropped."""
    full_contrast: float = 0.4
    """The contrast from which on the activation map takes nothing off the trust."""
    segments: SegmentOptions = field(default_factory=lambda: SegmentOptions(overlap=0.8))
    """Sizes, duplicates, number; of duplicates the one with the most trust stays."""

    def __post_init__(self) -> None:
        check_ranges(self, min_contrast=(-1, 1), full_contrast=(1e-3, 1))


def prompted_segments(
    image: Image,
    activation: NDArray[np.floating],
    segmenter: PointAndBoxSegmenter,
    prompts: PromptOptions | None = None,
    gate: GateOptions | None = None,
) -> Segments:
    """Prompt a segmenter at the peaks and around the active places of one class; scores are the trust.

    Args:
        image: uint8 (H, W, 3), RGB.
        activation: Float (h, w) in 0..1 of one class.
        segmenter: Is not called where there is neither a peak nor a box.
        prompts: Defaults to `PromptOptions()`.
        gate: Defaults to `GateOptions()`.

    Returns:
        Segments of the photo's size, the most trusted first.
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
    """Ask a segmenter for all objects of a tag by its name; scores are the trust.

    Args:
        image: uint8 (H, W, 3), RGB.
        activation: Float (h, w) in 0..1 of the tag's class, which the answers must agree with.
        concept: The tag's name; underscores are read as spaces.
        segmenter: See there.
        gate: Defaults to `GateOptions()`.
    """
    return gated(*segmenter(image, concept.replace("_", " ")), activation, gate)


def gated(
    masks: Masks, certainty: Array, activation: NDArray[np.floating], options: GateOptions | None = None
) -> Segments:
    """Keep the answers that an activation map agrees with.

    The trust is the segmenter's own certainty times contrast / full_contrast, within 0..1, where the contrast is
    the mean activation inside minus that outside.

    Args:
        masks: bool (P, H, W).
        certainty: float32 (P,); cut off at 0 and 1.
        activation: Float (h, w) in 0..1.
        options: Defaults to `GateOptions()`.
    """
    options = options or GateOptions()
    contrasts = contrast(masks, activation)
    kept = contrasts >= options.min_contrast
    confidence = np.clip(certainty, 0, 1) * np.clip(contrasts / options.full_contrast, 0, 1)
    return tidy(masks[kept], np.asarray(confidence[kept], np.float32), options.segments)


def contrast(masks: Masks, activation: NDArray[np.floating]) -> Array:
    """Return the mean activation inside minus outside of each mask, float32 (P,); -1 for nothing and everything.

    Args:
        masks: bool (P, H, W).
        activation: Float (h, w) in 0..1, resized to the masks.
    """
    rows, columns = masks.shape[1:]
    full = cv2.resize(np.asarray(activation, np.float32), (columns, rows), interpolation=cv2.INTER_LINEAR).ravel()
    inside = masks.reshape(len(masks), full.size).astype(np.float32)
    area = inside.sum(axis=1)
    summed = inside @ full
    outside = (full.sum() - summed) / np.maximum(full.size - area, 1)
    trivial = (area == 0) | (area == full.size)
    return np.asarray(np.where(trivial, -1, summed / np.maximum(area, 1) - outside), np.float32)
