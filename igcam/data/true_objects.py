"""The single objects in a true mask."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

import cv2
import numpy as np
from numpy.typing import NDArray

from igcam.core.errors import IgcamError
from igcam.data.masks import IGNORE, MaskFile, MaskSource, present_ids, tags_in_mask
from igcam.data.sample import Dataset, tag_to_mask_id

Region = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class TrueObject:
    """One object and where it is seen."""

    label: int
    """Mask id, 1..C."""
    instance: int
    """Its number, unique in the image."""
    region: Region
    """bool (H, W), at least one pixel."""


@runtime_checkable
class ObjectSource(MaskSource, Protocol):
    """A true mask that knows its objects."""

    def objects(self) -> list[TrueObject]:
        """Return the objects that show; their regions do not overlap and have their label in `read()`."""
        ...


@dataclass(frozen=True)
class InstanceMask:
    """Class ids and instance ids of the same image; an `ObjectSource`."""

    classes: MaskSource
    """The mask of class ids."""
    instances: MaskFile
    """The mask of instance ids; 0 and 255 are no instance."""

    def read(self) -> NDArray[np.uint8]:
        """Return the class ids, uint8 (H, W)."""
        return self.classes.read()

    def objects(self) -> list[TrueObject]:
        """Return the instances; each has the class of most of its pixels, and only the pixels of that class.

        Raises:
            IgcamError: The masks differ in size.
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
    """The mask of one object, found when it is read; a `MaskSource`."""

    truth: MaskSource
    """The true mask of its image."""
    instance: int
    """Number of the object."""
    min_share: float
    """As for `find_objects`."""

    def read(self) -> NDArray[np.uint8]:
        """Return uint8 (H, W): 1 on the object, 0 elsewhere."""
        found = {found.instance: found for found in find_objects(self.truth, self.min_share)}
        return found[self.instance].region.astype(np.uint8)


def find_objects(truth: MaskSource, min_share: float = 0.001) -> list[TrueObject]:
    """Return the objects of a true mask.

    Truth that knows its objects (COCO, `InstanceMask`) gives all of them. Of class ids alone each connected
    part of a class is an object, corners joined, numbered from 1 by class and then from top to bottom. Parts
    below `min_share` of the image's area are specks and left out, but for the largest of a class that has
    no others, so that every class is found.
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
        # OpenCV promises no order of the parts.
        for number in numbers[np.argsort(first)]:
            if areas[number - 1] >= minimum:
                found.append(TrueObject(label, len(found) + 1, parts == number))
    return found


def with_instances(dataset: Dataset, folder: str | Path) -> Dataset:
    """Return the data set with truth that knows its objects, from masks of instance ids NAME.png in a folder.

    VOC's SegmentationObject and the `instances` of built-in scenes are such folders.

    Raises:
        IgcamError: Images have no true mask or no mask of instances, all listed.
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
