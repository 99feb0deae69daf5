"""Export as a COCO instances file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from igcam.data.export_item import ExportItem, ExportOptions, Record, Records, put_photo
from igcam.data.mask_objects import MaskObject
from igcam.data.masks import IGNORE
from igcam.data.outlines import outlines
from igcam.data.run_lengths import coco_code
from igcam.files import write_chunks


@dataclass(frozen=True)
class CocoWriter:
    """Every object is an annotation; what is unknown is a crowd of every class that the mask shows.

        images/NAME.jpg
        annotations.json    categories 1..C; segmentation as polygons or as run-length codes

    Polygons run along the edges of pixels, so that drawing them by COCO's rule gives the same pixels, holes
    included; crowds are run-length codes, as COCO wants. Unknown pixels of a mask without any class become
    background, as a crowd needs a category.
    """

    out: Path
    classes: tuple[str, ...]
    options: ExportOptions

    def write(self, item: ExportItem) -> Record:
        """Write the photo, and return its annotations."""
        file = put_photo(item, self.out / "images", item.name, self.options.link)
        height, width = item.mask.shape
        annotations = [self._annotation(thing, height, width) for thing in item.objects]
        if item.unknown:
            crowd = MaskObject.cut(IGNORE, item.mask == IGNORE)
            for label in sorted({thing.label for thing in item.objects}):
                annotations.append(_annotation(label, crowd, _code(crowd, height, width), crowd=1))
        return {"file_name": file, "height": height, "width": width, "annotations": annotations}

    def finish(self, records: Records) -> None:
        """Write annotations.json."""
        write_chunks(self.out / "annotations.json", self._text(records))

    def _annotation(self, thing: MaskObject, height: int, width: int) -> dict[str, Any]:
        if self.options.shape == "mask":
            return _annotation(thing.label, thing, _code(thing, height, width))
        rings = outlines(thing.region, tolerance=self.options.tolerance)
        return _annotation(thing.label, thing, [_tidy(thing.placed(ring)) for ring in rings])

    def _text(self, records: Records) -> Iterator[str]:
        categories = [{"id": number, "name": name} for number, name in enumerate(self.classes, start=1)]
        yield f'{{"categories": {json.dumps(categories, ensure_ascii=False)},\n"images": ['
        for number, record in enumerate(records, start=1):
            image = {"id": number} | {key: record[key] for key in ("file_name", "height", "width")}
            yield ("" if number == 1 else ",") + "\n" + json.dumps(image, ensure_ascii=False)
        yield '\n],\n"annotations": ['
        count = 0
        for number, record in enumerate(records, start=1):
            for annotation in record["annotations"]:
                count += 1
                line = json.dumps({"id": count, "image_id": number} | annotation)
                yield ("" if count == 1 else ",") + "\n" + line
        yield "\n]}\n"


def _annotation(label: int, thing: MaskObject, segmentation: Any, crowd: int = 0) -> dict[str, Any]:
    return {
        "category_id": label,
        "iscrowd": crowd,
        "area": thing.area,
        "bbox": list(thing.box),
        "segmentation": segmentation,
    }


def _code(thing: MaskObject, height: int, width: int) -> dict[str, object]:
    canvas = np.zeros((height, width), bool)
    thing.paint(canvas, True)
    return coco_code(canvas)


def _tidy(ring: np.ndarray) -> list[int | float]:
    return [int(value) if value.is_integer() else round(value, 2) for value in ring.ravel().tolist()]
