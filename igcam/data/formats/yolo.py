"""Export for YOLO segmentation: a text file of polygons an image."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from igcam.core.files import write_text
from igcam.data.export_item import ExportItem, ExportOptions, Record, Records, flat_name, put_photo
from igcam.data.outlines import outlines

SIDES = (0.05, 0.45)
"""Where in a pixel corners lie. Readers cut or round them to whole pixels, and draw the line as part of the object;
both give the pixel's index."""


@dataclass(frozen=True)
class YoloWriter:
    """A line for each connected part of an object: class from 0, and the corners of a polygon as shares of the size.

        images/NAME.jpg     folders in names become __, as most readers search no folders
        labels/NAME.txt     empty where the mask shows nothing
        data.yaml

    A polygon of YOLO knows no holes and a mask no unknown: holes are cut in from the left, which reads back
    exactly, and what is unknown becomes background.
    """

    out: Path
    classes: tuple[str, ...]
    options: ExportOptions

    def write(self, item: ExportItem) -> Record:
        """Write photo and polygons of one image."""
        name = flat_name(item.name)
        put_photo(item, self.out / "images", name, self.options.link)
        height, width = item.mask.shape
        lines = []
        for thing in item.objects:
            for ring in outlines(thing.region, SIDES, self.options.tolerance):
                shares = thing.placed(ring) / [width, height]
                corners = " ".join(f"{value:.6f}" for value in np.clip(shares, 0, 1).ravel())
                lines.append(f"{thing.label - 1} {corners}\n")
        write_text(self.out / "labels" / f"{name}.txt", "".join(lines))
        return {}

    def finish(self, records: Records) -> None:
        """Write data.yaml."""
        names = "".join(f"  {index}: {json.dumps(name)}\n" for index, name in enumerate(self.classes))
        # Trainers ask for both; which images are for validation is the user's choice.
        write_text(self.out / "data.yaml", f"train: images\nval: images\nnames:\n{names}")
