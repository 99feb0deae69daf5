"""YOLO segmentation: one text file of polygons an image."""

from __future__ import annotations

import json
from collections.abc import Iterable

import numpy as np

from igcam.core.files import write_text
from igcam.data.export_item import ExportItem, Record, Writer, export_format, flat_name, put_photo
from igcam.data.polygons import outlines

SIDES = (0.05, 0.45)
"""Position of corners within a pixel. Readers floor or round corners and fill the polygon with its line; both then
give the index of the pixel."""


@export_format("yolo")
class YoloWriter(Writer):
    """A line for each connected part of an object: its class from 0, and the corners as fractions of the size.

        images/NAME.jpg     folders in names become __, as most readers search no folders
        labels/NAME.txt     empty for a mask without objects
        data.yaml

    YOLO has neither holes nor unknown pixels. Holes are cut in from the left, which reads back exactly; unknown
    pixels become background.
    """

    flat = True
    keeps_unknown = False

    def write(self, item: ExportItem) -> Record:
        """Write photo and polygons of one image."""
        name = flat_name(item.name)
        put_photo(item, self.out / "images", name, self.options.link)
        height, width = item.mask.shape
        lines = []
        for found in item.objects:
            for ring in outlines(found.region, SIDES, self.options.tolerance):
                fractions = np.clip(found.to_image(ring) / [width, height], 0, 1)
                lines.append(f"{found.label - 1} {' '.join(f'{value:.6f}' for value in fractions.ravel())}\n")
        write_text(self.out / "labels" / f"{name}.txt", "".join(lines))
        return {}

    def finish(self, records: Iterable[Record]) -> None:
        """Write data.yaml, with all images for training and validation: trainers need both keys."""
        names = "".join(f"  {index}: {json.dumps(name)}\n" for index, name in enumerate(self.classes))
        write_text(self.out / "data.yaml", f"train: images\nval: images\nnames:\n{names}")
