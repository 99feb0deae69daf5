"""From a mask of classes to its objects: connected parts, or what cues call one object."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from igcam.data.cue import BoxCue, Cue, MaskCue
from igcam.data.masks import IGNORE, present_ids


@dataclass(frozen=True, eq=False)
class MaskObject:
    """One object of a mask."""

    label: int
    """Mask id, 1..254; 255 for a region that is unknown."""
    left: int
    """First column."""
    top: int
    """First row."""
    region: NDArray[np.bool_]
    """bool (h, w): its pixels in the smallest box around them."""

    @property
    def area(self) -> int:
        """Number of pixels."""
        return int(self.region.sum())

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Left, top, width, height."""
        height, width = self.region.shape
        return self.left, self.top, width, height

    @classmethod
    def cut(cls, label: int, region: NDArray[np.bool_], left: int = 0, top: int = 0) -> MaskObject:
        """Cut out what is in a region, bool (h, w), whose first pixel is at (left, top); it must not be empty."""
        rows, columns = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
        inner = region[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        return cls(label, left + int(columns[0]), top + int(rows[0]), np.ascontiguousarray(inner))

    def to_image(self, corners: NDArray[np.float64]) -> NDArray[np.float64]:
        """Convert corners (V, 2), x and y, from its region to the image."""
        return corners + np.array([self.left, self.top])

    def in_image(self, height: int, width: int) -> NDArray[np.bool_]:
        """Return its pixels in the whole image, bool (height, width)."""
        canvas = np.zeros((height, width), bool)
        self.paint(canvas, True)
        return canvas

    def paint(self, canvas: NDArray[np.generic], value: int) -> None:
        """Set the object's pixels in an array (H, W) of the whole image."""
        height, width = self.region.shape
        canvas[self.top : self.top + height, self.left : self.left + width][self.region] = value


def split_objects(mask: NDArray[np.uint8], cues: Iterable[Cue] = ()) -> list[MaskObject]:
    """Split each class of a mask into objects.

    Connected pixels of a class (8 neighbours) are one object. Cues may say more: masks of single objects, and
    boxes, with or without an instance. Pixels under a mask of their class belong to its object, of several the
    smallest; then those in a box. In a connected part that has such objects the rest goes to the nearest.

    Args:
        mask: uint8 (H, W), ids 0..254 and 255 = unknown.
        cues: Of this image; points, scribbles and masks of the whole image say nothing about objects.

    Returns:
        By label, then as they lie from the top. What is unknown is no object.
    """
    if mask.dtype != np.uint8 or mask.ndim != 2:
        raise ValueError(f"mask must be uint8 (H, W), got {mask.dtype} {mask.shape}")
    cues = list(cues)
    found: list[MaskObject] = []
    for label in present_ids(mask):
        if label not in (0, IGNORE):
            own = [cue for cue in cues if cue.label == label and isinstance(cue, BoxCue | MaskCue)]
            parts = _parts(label, mask == label)
            found += _by_cues(label, mask == label, parts, own) if own else parts
    return sorted(found, key=lambda item: (item.label, item.top, item.left))


def _parts(label: int, region: NDArray[np.bool_]) -> list[MaskObject]:
    count, numbers, stats, _ = cv2.connectedComponentsWithStats(region.astype(np.uint8), connectivity=8)
    parts = []
    for number in range(1, count):
        left, top, width, height = stats[number, :4].tolist()
        parts.append(MaskObject(label, left, top, numbers[top : top + height, left : left + width] == number))
    return parts


def _by_cues(
    label: int, region: NDArray[np.bool_], parts: Sequence[MaskObject], cues: Sequence[BoxCue | MaskCue]
) -> list[MaskObject]:
    owner = _owners(region, cues)
    objects: list[MaskObject] = []
    for part in parts:
        height, width = part.region.shape
        inside = owner[part.top : part.top + height, part.left : part.left + width]
        claimed = np.where(part.region, inside, 0)
        if not claimed.any():
            objects.append(part)
            continue
        nearest = _nearest(claimed)
        inside[part.region] = nearest[part.region]
    numbers = np.unique(owner[owner > 0]).tolist()
    return objects + [MaskObject.cut(label, owner == number) for number in numbers]


def _owners(region: NDArray[np.bool_], cues: Sequence[BoxCue | MaskCue]) -> NDArray[np.int32]:
    """Return int32 (H, W): the number of the object that claims a pixel of the region, from 1; 0 = none."""
    numbers: dict[object, int] = {}
    claims = []
    for index, cue in enumerate(cues):
        key = ("cue", index) if cue.instance is None else ("instance", type(cue.instance), cue.instance)
        number = numbers.setdefault(key, len(numbers) + 1)
        covered = cue.region(*region.shape)
        claims.append((isinstance(cue, MaskCue), -int(covered.sum()), number, covered))
    owner = np.zeros(region.shape, np.int32)
    # The last one painted is on top: masks over boxes, small ones over large ones.
    for _, _, number, covered in sorted(claims, key=lambda claim: claim[:3]):
        owner[covered & region] = number
    return owner


def _nearest(claimed: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return for each pixel the number of the nearest pixel that has one."""
    free = (claimed == 0).astype(np.uint8)
    _, sources = cv2.distanceTransformWithLabels(free, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    number_of = np.zeros(int(sources.max()) + 1, np.int32)
    number_of[sources[free == 0]] = claimed[free == 0]
    result: NDArray[np.int32] = number_of[sources]
    return result
