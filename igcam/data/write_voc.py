"""Export in the layout of PASCAL VOC 2012, for example for torchvision's VOCSegmentation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from igcam.data.export_item import ExportItem, ExportOptions, Record, Records, put_photo
from igcam.data.masks import IGNORE, MAXIMUM_CLASSES, write_mask
from igcam.files import write_text


@dataclass(frozen=True)
class VocWriter:
    """Photos, masks of classes, masks of objects and a list.

        VOCdevkit/VOC2012/JPEGImages/NAME.jpg
        VOCdevkit/VOC2012/SegmentationClass/NAME.png
        VOCdevkit/VOC2012/SegmentationObject/NAME.png          objects 1, 2, ...; 255: over 254, or too small
        VOCdevkit/VOC2012/ImageSets/Segmentation/SPLIT.txt
        VOCdevkit/VOC2012/classes.txt                          name of id 1, of id 2, ...

    Masks keep their ids and 255. Every photo becomes a JPEG, as VOC knows no other.
    """

    out: Path
    classes: tuple[str, ...]
    options: ExportOptions

    @property
    def root(self) -> Path:
        """The folder that `igcam.data.read_voc` takes."""
        return self.out / "VOCdevkit" / "VOC2012"

    def write(self, item: ExportItem) -> Record:
        """Write photo, classes and objects of one image."""
        put_photo(item, self.root / "JPEGImages", item.name, self.options.link, jpeg=True)
        write_mask(self.root / "SegmentationClass" / f"{item.name}.png", item.mask)
        # Objects that have no number are unknown.
        numbers = np.where(item.mask > 0, np.uint8(IGNORE), np.uint8(0))
        largest = sorted(range(len(item.objects)), key=lambda index: -item.objects[index].area)
        kept = sorted(largest[:MAXIMUM_CLASSES])
        for number, index in enumerate(kept, start=1):
            item.objects[index].paint(numbers, number)
        write_mask(self.root / "SegmentationObject" / f"{item.name}.png", numbers)
        return {"name": item.name}

    def finish(self, records: Records) -> None:
        """Write the list and the names of the classes."""
        names = "".join(f"{record['name']}\n" for record in records)
        write_text(self.root / "ImageSets" / "Segmentation" / f"{self.options.split}.txt", names)
        write_text(self.root / "classes.txt", "".join(f"{name}\n" for name in self.classes))
