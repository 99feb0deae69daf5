"""Export as pre-annotations of Label Studio: tasks with predictions that a person corrects."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

import numpy as np

from igcam.core.files import write_chunks, write_text
from igcam.core.version import __version__
from igcam.data.export_item import ExportItem, ExportOptions, Record, Records, put_photo
from igcam.data.mask_objects import MaskObject
from igcam.data.masks import voc_palette
from igcam.data.outlines import outlines
from igcam.data.run_lengths import brush_code


@dataclass(frozen=True)
class LabelStudioWriter:
    """Every object is a region: one polygon a connected part, or the brush's run-length code.

        images/NAME.jpg       serve this folder: Label Studio's local files, or another address
        tasks.json            import this
        label_config.xml      the labelling interface

    Corners of polygons are in percent of the size. What is unknown is not drawn.
    """

    out: Path
    classes: tuple[str, ...]
    options: ExportOptions

    def write(self, item: ExportItem) -> Record:
        """Write the photo, and return the task."""
        file = put_photo(item, self.out / "images", item.name, self.options.link)
        regions = [region for thing in item.objects for region in self._regions(thing, *item.mask.shape)]
        for number, region in enumerate(regions, start=1):
            region["id"] = f"r{number}"
        prediction = {"model_version": f"igcam {__version__}", "result": regions}
        return {"data": {"image": self.options.address + quote(file)}, "predictions": [prediction]}

    def finish(self, records: Records) -> None:
        """Write tasks.json and label_config.xml."""
        write_chunks(self.out / "tasks.json", _tasks(records))
        kind = "PolygonLabels" if self.options.shape == "polygon" else "BrushLabels"
        labels = "".join(
            f"    <Label value={quoteattr(name)} background={quoteattr(_colour(number))}/>\n"
            for number, name in enumerate(self.classes, start=1)
        )
        write_text(
            self.out / "label_config.xml",
            f'<View>\n  <Image name="image" value="$image" zoom="true"/>\n'
            f'  <{kind} name="label" toName="image">\n{labels}  </{kind}>\n</View>\n',
        )

    def _regions(self, thing: MaskObject, height: int, width: int) -> Iterator[dict[str, Any]]:
        name = self.classes[thing.label - 1]
        common = {
            "from_name": "label",
            "to_name": "image",
            "original_width": width,
            "original_height": height,
            "image_rotation": 0,
        }
        if self.options.shape == "mask":
            canvas = np.zeros((height, width), bool)
            thing.paint(canvas, True)
            value = {"format": "rle", "rle": brush_code(canvas), "brushlabels": [name]}
            yield {**common, "type": "brushlabels", "value": value}
            return
        for ring in outlines(thing.region, tolerance=self.options.tolerance):
            percent = 100 * thing.placed(ring) / [width, height]
            points = np.round(percent, 5).tolist()
            yield {
                **common,
                "type": "polygonlabels",
                "value": {"points": points, "closed": True, "polygonlabels": [name]},
            }


def _tasks(records: Records) -> Iterator[str]:
    yield "["
    for number, record in enumerate(records):
        yield (",\n" if number else "\n") + json.dumps(record, ensure_ascii=False)
    yield "\n]\n"


def _colour(number: int) -> str:
    red, green, blue = voc_palette()[number].tolist()
    return f"#{red:02x}{green:02x}{blue:02x}"
