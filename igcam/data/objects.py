"""Single objects of masks: those of a true mask, and those to export from a semantic mask."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

import cv2
import numpy as np
from numpy.typing import NDArray

from igcam.core.errors import IgcamError
from igcam.data.cue import BoxCue, Cue, MaskCue
from igcam.data.masks import IGNORE, MaskFile, MaskSource, present_ids, tags_in_mask
from igcam.data.sample import Dataset, tag_to_mask_id

Region = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class TrueObject:
    """One object of a true mask and its visible pixels."""

    label: int
    """Mask id, 1..C."""
    instance: int
    """Number, unique in the image."""
    region: Region
    """bool (H, W), at least one pixel."""


@runtime_checkable
class ObjectSource(MaskSource, Protocol):
    """A true mask with instance annotations."""

    def objects(self) -> list[TrueObject]:
        """Return the visible objects; their regions are disjoint and have their label in `read()`."""
        ...


@dataclass(frozen=True)
class InstanceMask:
    """Class ids and instance ids of one image; an `ObjectSource`."""

    classes: MaskSource
    instances: MaskFile
    """Instance ids; 0 and 255 are no instance."""

    def read(self) -> NDArray[np.uint8]:
        """Return the class ids, uint8 (H, W)."""
        return self.classes.read()

    def objects(self) -> list[TrueObject]:
        """Return the instances; each has the class of most of its pixels, and only the pixels of that class.

        The masks must be of one size, or it is an IgcamError.
        """
        classes, instances = self.classes.read(), self.instances.read()
        if classes.shape != instances.shape:
            sizes = " but ".join(f"{width} x {height}" for height, width in (classes.shape, instances.shape))
            raise IgcamError(f"{self.instances.path}: must have the size of the true mask, {sizes}")
        found = []
        for instance in present_ids(instances):
            inside = instances == instance
            counts = np.bincount(classes[inside], minlength=256)
            counts[[0, IGNORE]] = 0
            label = int(counts.argmax())
            if instance not in (0, IGNORE) and counts[label]:
                found.append(TrueObject(label, instance, inside & (classes == label)))
        return found


@dataclass(frozen=True)
class ObjectMask:
    """Mask of one true object, computed when it is read; a `MaskSource`."""

    truth: MaskSource
    instance: int
    min_share: float

    def read(self) -> NDArray[np.uint8]:
        """Return uint8 (H, W): 1 on the object, 0 elsewhere."""
        found = {found.instance: found for found in find_objects(self.truth, self.min_share)}
        return found[self.instance].region.astype(np.uint8)


def find_objects(truth: MaskSource, min_share: float = 0.001) -> list[TrueObject]:
    """Return the objects of a true mask.

    An `ObjectSource` (COCO, `InstanceMask`) gives all of its objects. In a mask of class ids each connected
    component of a class (8 neighbours) is an object, numbered from 1 by class and then from top to bottom.
    Components below `min_share` of the image's area are left out, except the largest of a class that has no
    others.
    """
    if isinstance(truth, ObjectSource):
        return truth.objects()
    mask = truth.read()
    found: list[TrueObject] = []
    for tag in tags_in_mask(mask):
        label = tag_to_mask_id(tag)
        _, parts = cv2.connectedComponents((mask == label).astype(np.uint8), connectivity=8)
        numbers, first, areas = np.unique(parts[parts > 0], return_index=True, return_counts=True)
        minimum = min(min_share * mask.size, areas.max())
        # OpenCV guarantees no order of the components.
        for number in numbers[np.argsort(first)]:
            if areas[number - 1] >= minimum:
                found.append(TrueObject(label, len(found) + 1, parts == number))
    return found


def with_instances(dataset: Dataset, folder: str | Path) -> Dataset:
    """Return a data set with masks of instance ids, NAME.png in a folder, added to its true masks.

    VOC's SegmentationObject and the `instances` of built-in scenes are such folders.

    Raises:
        IgcamError: Samples have no true mask or no mask of instances, all listed.
    """
    folder = Path(folder)
    samples, missing = [], []
    for sample in dataset:
        path = folder / f"{sample.name}.png"
        if sample.truth is None:
            missing.append(f"{sample.name}: has no true mask")
        elif not path.is_file():
            missing.append(f"{path}: does not exist")
        else:
            samples.append(replace(sample, truth=InstanceMask(sample.truth, MaskFile(path))))
    if missing:
        raise IgcamError.from_lines(f"{folder}: {len(missing)} images lack masks", missing)
    return replace(dataset, samples=tuple(samples))


@dataclass(frozen=True, eq=False)
class MaskObject:
    """One object of a semantic mask, cropped to its bounding box."""

    label: int
    """Mask id, 1..254; 255 for unknown pixels."""
    left: int
    top: int
    region: Region
    """bool (h, w): its pixels in the bounding box."""

    @property
    def area(self) -> int:
        """Number of pixels."""
        return int(self.region.sum())

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Left, top, width, height in pixels."""
        height, width = self.region.shape
        return self.left, self.top, width, height

    @classmethod
    def cut(cls, label: int, region: Region) -> MaskObject:
        """Crop a region of the whole image, bool (H, W), not empty."""
        rows, columns = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
        inner = region[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        return cls(label, int(columns[0]), int(rows[0]), np.ascontiguousarray(inner))

    def to_image(self, corners: NDArray[np.float64]) -> NDArray[np.float64]:
        """Convert corners (V, 2), x and y, from the bounding box to the image."""
        return corners + np.array([self.left, self.top])

    def in_image(self, height: int, width: int) -> Region:
        """Return its pixels in the whole image, bool (height, width)."""
        canvas = np.zeros((height, width), bool)
        self.paint(canvas, True)
        return canvas

    def paint(self, canvas: NDArray[np.generic], value: int) -> None:
        """Set its pixels in an array (H, W) of the whole image."""
        height, width = self.region.shape
        canvas[self.top : self.top + height, self.left : self.left + width][self.region] = value


def split_objects(mask: NDArray[np.uint8], cues: Iterable[Cue] = ()) -> list[MaskObject]:
    """Split each class of a mask, uint8 (H, W), ids 0..254 and 255 = unknown, into objects.

    A connected component of a class (8 neighbours) is one object, unless boxes or masks of single objects say
    more. Pixels under a mask cue of their class belong to its object, of several to the smallest; then those in
    a box. In a component with such objects the remaining pixels go to the nearest one. Cues with the same
    instance are one object; points, scribbles and masks of the whole image are ignored.

    Returns:
        Objects sorted by label, top and left. Unknown pixels are no object.
    """
    if mask.dtype != np.uint8 or mask.ndim != 2:
        raise ValueError(f"mask must be uint8 (H, W), got {mask.dtype} {mask.shape}")
    cues = list(cues)
    found: list[MaskObject] = []
    for label in present_ids(mask):
        if label not in (0, IGNORE):
            own = [cue for cue in cues if cue.label == label and isinstance(cue, BoxCue | MaskCue)]
            parts = _components(label, mask == label)
            found += _split_by_cues(label, mask == label, parts, own) if own else parts
    return sorted(found, key=lambda item: (item.label, item.top, item.left))


def _components(label: int, region: Region) -> list[MaskObject]:
    count, numbers, stats, _ = cv2.connectedComponentsWithStats(region.astype(np.uint8), connectivity=8)
    parts = []
    for number in range(1, count):
        left, top, width, height = stats[number, :4].tolist()
        parts.append(MaskObject(label, left, top, numbers[top : top + height, left : left + width] == number))
    return parts


def _split_by_cues(
    label: int, region: Region, parts: Sequence[MaskObject], cues: Sequence[BoxCue | MaskCue]
) -> list[MaskObject]:
    owner = _owners(region, cues)
    objects: list[MaskObject] = []
    for part in parts:
        height, width = part.region.shape
        inside = owner[part.top : part.top + height, part.left : part.left + width]
        claimed = np.where(part.region, inside, 0)
        if claimed.any():
            inside[part.region] = _nearest(claimed)[part.region]
        else:
            objects.append(part)
    numbers = np.unique(owner[owner > 0]).tolist()
    return objects + [MaskObject.cut(label, owner == number) for number in numbers]


def _owners(region: Region, cues: Sequence[BoxCue | MaskCue]) -> NDArray[np.int32]:
    """Return int32 (H, W): for each pixel the number, from 1, of the object whose cue claims it; 0 = none."""
    numbers: dict[object, int] = {}
    claims = []
    for index, cue in enumerate(cues):
        key = ("cue", index) if cue.instance is None else ("instance", type(cue.instance), cue.instance)
        number = numbers.setdefault(key, len(numbers) + 1)
        pixels = cue.region(*region.shape)
        claims.append((isinstance(cue, MaskCue), -int(pixels.sum()), number, pixels))
    owner = np.zeros(region.shape, np.int32)
    # The last one painted is on top: masks over boxes, small ones over large ones.
    for _, _, number, pixels in sorted(claims, key=lambda claim: claim[:3]):
        owner[pixels & region] = number
    return owner


def _nearest(claimed: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return for each pixel the number of the nearest claimed one."""
    free = (claimed == 0).astype(np.uint8)
    _, sources = cv2.distanceTransformWithLabels(free, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    number_of = np.zeros(int(sources.max()) + 1, np.int32)
    number_of[sources[free == 0]] = claimed[free == 0]
    return number_of[sources]
