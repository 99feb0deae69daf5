"""Cue constraints: the cues of one image on a grid of any size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from igcam.data.cue import BoxCue, Cue, MaskCue
from igcam.data.images import image_size
from igcam.data.masks import IGNORE
from igcam.data.sample import Dataset

Array = NDArray[np.float32]


@dataclass(frozen=True)
class BoxRegion:
    """A box of class `label`, 1..C, on a grid of locations: the rows and columns that it covers."""

    label: int
    rows: slice
    columns: slice


@dataclass(frozen=True)
class Mark:
    """A point, a scribble or the mask of one object, of class `label`, 0..C, on a grid of locations."""

    label: int
    locations: Array
    """float32 (h, w) in 0..1: how much of each location is annotated."""


@dataclass(frozen=True)
class CueConstraint:
    """The cues of an image on a grid of locations; boxes and marks (points, scribbles, masks of objects) as given."""

    probability: Array
    """float32 (K, h, w): the annotated classes, summing to one where `confidence` is above 0, zero elsewhere."""
    confidence: Array
    """float32 (h, w) in 0..1: confidence of the annotation; 1 fixes the location to `probability`."""
    allowed: Array
    """float32 (K, h, w) in 0..1: the largest probability of each class; 1 for the background."""
    boxes: tuple[BoxRegion, ...] = ()
    marks: tuple[Mark, ...] = ()
    whole: bool = False
    """Whether a mask of the whole image is among the cues."""

    def of(self, labels: NDArray[np.integer]) -> CueConstraint:
        """Return the constraint for some of the classes, ids (K',) with the background first, without boxes and marks.

        Annotations of other classes lose their confidence.
        """
        kept = self.probability[labels].sum(axis=0)
        shares = self.probability[labels] / np.where(kept > 0, kept, 1)
        return CueConstraint(shares, self.confidence * (kept > 0), self.allowed[labels], whole=self.whole)


@dataclass(frozen=True)
class AnnotatedImage:
    """The cues of one image of (height, width) pixels and a data set of C classes, ready for grids of any size.

    Masks are correct; points and scribbles are certain where they lie. Boxes are tight, and a class with a box does not
    occur outside its boxes.
    """

    cues: tuple[Cue, ...]
    height: int
    width: int
    classes: int

    @property
    def whole(self) -> bool:
        """Whether a mask of the whole image is among the cues."""
        return bool(_whole_masks(self.cues))

    @property
    def with_background(self) -> bool:
        """Whether the background is annotated."""
        return any(cue.label == 0 for cue in self.cues)

    def at(self, height: int, width: int) -> CueConstraint:
        """Return the constraint on a grid of (height, width) locations, not finer than the image."""
        kinds = self.classes + 1
        annotated = np.zeros((kinds, height, width), np.float32)
        confidence = np.zeros((height, width), np.float32)
        allowed = np.ones((kinds, height, width), np.float32)
        boxed: dict[int, NDArray[np.bool_]] = {}
        boxes, marks = [], []
        for cue in self.cues:
            if isinstance(cue, BoxCue) and cue.label:
                inside = cue.region(self.height, self.width)
                boxed[cue.label] = boxed.get(cue.label, np.zeros_like(inside)) | inside
                boxes.append(_box_region(cue, self.height, self.width, height, width))
            elif cue.label is not None:
                locations = _shares(cue.region(self.height, self.width), height, width)
                if not isinstance(cue, MaskCue):
                    # A click or a stroke fixes its location, however little of it is covered.
                    locations = np.asarray(locations > 0, np.float32)
                annotated[cue.label] += cue.confidence * locations
                confidence = np.maximum(confidence, cue.confidence * locations)
                marks.append(Mark(cue.label, locations))
        for label, union in boxed.items():
            allowed[label] = _shares(union, height, width)
        for mask in _whole_masks(self.cues):
            ids = mask.source.read()
            annotated = np.stack([_shares(ids == label, height, width) for label in range(kinds)])
            confidence = mask.confidence * _shares(ids != IGNORE, height, width)
        total = annotated.sum(axis=0)
        probability = annotated / np.where(total > 0, total, 1)
        confidence = np.asarray(np.where(total < 1e-6, 0, confidence), np.float32)
        return CueConstraint(
            np.asarray(probability, np.float32), confidence, allowed, tuple(boxes), tuple(marks), self.whole
        )


def annotated_images(dataset: Dataset) -> dict[int, AnnotatedImage]:
    """Return the images with cues, by their index in the data set."""
    return {
        index: AnnotatedImage(sample.cues, *image_size(sample.image), len(dataset.classes))
        for index, sample in enumerate(dataset)
        if sample.cues
    }


def constrain(probability: NDArray[np.floating], constraint: CueConstraint) -> Array:
    """Set annotated locations to their annotation, and remove classes where they are not allowed.

    The other classes gain in proportion, or the background if there are none. Probabilities are float (K, h, w) on the
    grid of the constraint, sum to one before and after, and are float32 afterwards.
    """
    kept = np.minimum(np.asarray(probability, np.float32), constraint.allowed)
    total = kept.sum(axis=0)
    kept[0] += total < 1e-6
    kept /= kept.sum(axis=0)
    return kept + constraint.confidence * (constraint.probability - kept)


def replace_by_mask(probability: NDArray[np.floating], constraint: CueConstraint) -> Array:
    """Return the mask where it is annotated, and the probabilities (K, h, w) elsewhere; float32 (K, h, w)."""
    return np.where(constraint.confidence > 0, constraint.probability, np.asarray(probability, np.float32))


def _whole_masks(cues: Sequence[Cue]) -> list[MaskCue]:
    return [cue for cue in cues if isinstance(cue, MaskCue) and cue.label is None]


def _shares(region: NDArray[np.bool_], height: int, width: int) -> Array:
    shares = cv2.resize(region.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(shares, np.float32)


def _box_region(box: BoxCue, height: int, width: int, rows: int, columns: int) -> BoxRegion:
    """Return the locations that a box covers by at least a tenth of their side; at least the nearest one."""

    def touched(low: float, high: float, size: int, count: int) -> slice:
        scale = count / size
        first, last = int(low * scale + 0.1), int(np.ceil(high * scale - 0.1))
        first = min(first, count - 1)
        return slice(first, max(first + 1, min(last, count)))

    return BoxRegion(
        int(box.label or 0), touched(box.top, box.bottom, height, rows), touched(box.left, box.right, width, columns)
    )
