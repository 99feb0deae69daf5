"""What every writer of an export takes: one mask with its photo, and how the export is meant."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from igcam.core.errors import IgcamError, check_ranges
from igcam.core.files import copy_file
from igcam.data.images import ImageFacts, load_image, save_jpeg, save_png
from igcam.data.mask_objects import MaskObject
from igcam.data.masks import IGNORE

Record = dict[str, Any]
"""What is kept of an image until the files about all images are written; fit for JSON."""

_PLAIN_MODES = ("RGB", "L")


@dataclass(frozen=True)
class ExportOptions:
    """How an export is meant.

    Raises:
        IgcamError: An option is out of range.
    """

    shape: Literal["polygon", "mask"] = "polygon"
    """How COCO and Label Studio get objects: as polygons, or as run-length codes."""
    tolerance: float = 0.0
    """Pixels that polygons may be away from the edge, to have fewer corners; 0 is exact."""
    min_area: int = 0
    """Pixels that an object has at least; smaller ones are left out. Masks of classes keep them."""
    link: bool = False
    """Hard links in place of copies, for photos that need no change; both are then one file."""
    split: str = "train"
    """Name of the list of a VOC export."""
    address: str = "/data/local-files/?d=images/"
    """What Label Studio finds photos by: this, and the path of the photo below OUT/images."""

    def __post_init__(self) -> None:
        check_ranges(self, tolerance=(0, 100), min_area=(0, math.inf))
        if self.shape not in ("polygon", "mask"):
            raise IgcamError(f"shape must be polygon or mask, got {self.shape}")
        if not self.split or not self.split.replace("-", "").replace("_", "").isalnum():
            raise IgcamError(f"split must be of letters, digits, - and _, got '{self.split}'")


@dataclass(frozen=True, eq=False)
class ExportItem:
    """One image to be exported."""

    name: str
    """The sample's name."""
    photo: Path
    """Its photo."""
    facts: ImageFacts
    """What the photo's file is like."""
    mask: NDArray[np.uint8]
    """uint8 (H, W): ids 0..C and 255, of the size of the photo as displayed."""
    objects: list[MaskObject]
    """The objects in it that are large enough."""

    @property
    def unknown(self) -> int:
        """Number of pixels that are 255."""
        return int((self.mask == IGNORE).sum())


class Writer(Protocol):
    """A format."""

    def write(self, item: ExportItem) -> Record:
        """Write the files of one image, and return what `finish` needs; called from several threads."""
        ...

    def finish(self, records: Records) -> None:
        """Write the files about all images."""
        ...


class Records(Protocol):
    """The records of all images; may be gone through more than once."""

    def __iter__(self) -> Iterator[Record]: ...


def put_photo(item: ExportItem, folder: Path, name: str, link: bool, jpeg: bool = False) -> str:
    """Put a photo into a folder so that every reader sees it as it is displayed, unless it is there already.

    JPEG and PNG files of 8 bits without rotation and transparency are copied as they are. All others are
    written anew as PNG, or as JPEG of quality 95.

    Args:
        item: The image.
        folder: Where to.
        name: Path below it, without suffix.
        link: Make a hard link where the file is taken as it is and the disk allows.
        jpeg: The file must be NAME.jpg.

    Returns:
        The path below the folder, with suffix.

    Raises:
        IgcamError: The photo cannot be read, or the disk is full.
    """
    suffix = item.photo.suffix.lower()
    facts = item.facts
    plain = facts.mode in _PLAIN_MODES and facts.orientation == 1 and not facts.alpha and not facts.sixteen_bit
    if plain and facts.frames == 1 and suffix in ((".jpg", ".jpeg") if jpeg else (".jpg", ".jpeg", ".png")):
        target = f"{name}{'.jpg' if jpeg else suffix}"
        if not (folder / target).exists():
            copy_file(item.photo, folder / target, link)
    else:
        target = f"{name}{'.jpg' if jpeg else '.png'}"
        if not (folder / target).exists():
            (save_jpeg if jpeg else save_png)(folder / target, load_image(item.photo))
    return target


def flat_name(name: str) -> str:
    """Return a sample's name without folders, for formats that have none: a/b becomes a__b."""
    return name.replace("/", "__")
