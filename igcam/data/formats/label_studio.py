"""Label Studio: tasks whose predictions a person corrects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

import numpy as np
from numpy.typing import NDArray

from igcam.core.files import write_chunks, write_text
from igcam.core.version import __version__
from igcam.data.export_item import ExportItem, Record, Writer, export_format, json_array, put_photo
from igcam.data.masks import voc_palette
from igcam.data.objects import MaskObject
from igcam.data.polygons import outlines

_BRUSH_BITS = (3, 4, 8, 16)
"""Numbers of bits that the brush may use for the length of a run."""


@export_format("label-studio")
class LabelStudioWriter(Writer):
    """Every object is a region: one polygon a connected part, or the run-length code of the brush.

        images/NAME.jpg       serve this folder: Label Studio's local files, or another address
        tasks.json            import this
        label_config.xml      the labelling interface

    Corners of polygons are in percent of the size. Unknown pixels become background.
    """

    keeps_unknown = False

    def write(self, item: ExportItem) -> Record:
        """Write the photo, and return the task."""
        file = put_photo(item, self.out / "images", item.name, self.options.link)
        regions = [region for found in item.objects for region in self._regions(found, *item.mask.shape)]
        for number, region in enumerate(regions, start=1):
            region["id"] = f"r{number}"
        prediction = {"model_version": f"igcam {__version__}", "result": regions}
        return {"data": {"image": self.options.address + quote(file)}, "predictions": [prediction]}

    def finish(self, records: Iterable[Record]) -> None:
        """Write tasks.json and label_config.xml."""
        write_chunks(self.out / "tasks.json", chain(json_array(records), ["\n"]))
        kind = "PolygonLabels" if self.options.shape == "polygon" else "BrushLabels"
        labels = "".join(
            f"    <Label value={quoteattr(name)} background={quoteattr(f'#{bytes(colour).hex()}')}/>\n"
            for name, colour in zip(self.classes, voc_palette()[1:], strict=False)
        )
        write_text(
            self.out / "label_config.xml",
            f'<View>\n  <Image name="image" value="$image" zoom="true"/>\n'
            f'  <{kind} name="label" toName="image">\n{labels}  </{kind}>\n</View>\n',
        )

    def _regions(self, found: MaskObject, height: int, width: int) -> Iterator[dict[str, Any]]:
        name = self.classes[found.label - 1]
        size = {"original_width": width, "original_height": height, "image_rotation": 0}
        common = {"from_name": "label", "to_name": "image", **size}
        if self.options.shape == "mask":
            value: dict[str, Any] = {"format": "rle", "rle": brush_code(found.in_image(height, width))}
            yield {**common, "type": "brushlabels", "value": value | {"brushlabels": [name]}}
            return
        for ring in outlines(found.region, tolerance=self.options.tolerance):
            points = np.round(100 * found.to_image(ring) / [width, height], 5).tolist()
            value = {"points": points, "closed": True, "polygonlabels": [name]}
            yield {**common, "type": "polygonlabels", "value": value}


def brush_code(region: NDArray[np.bool_]) -> list[int]:
    """Return the bytes of Label Studio's brush for a region, bool (H, W): four values a pixel, 0 or 255.

    32 bits: number of values. 5: bits of a value, less 1. Four times 4: bits of a length, less 1. Then for each
    run one bit 1, two for the size of its length, the length less 1, and the value. The rest of the last byte
    is 0. No library that we could depend on writes this format.

    Source: the decoder in label_studio_sdk.converter.brush, whose format is that of the library rle-pack.
    """
    values = region.ravel()
    bits = [f"{4 * region.size:032b}", f"{7:05b}", *(f"{size - 1:04b}" for size in _BRUSH_BITS)]
    edges = np.concatenate([[0], np.flatnonzero(values[1:] != values[:-1]) + 1, [values.size]])
    for start, length in zip(edges[:-1].tolist(), np.diff(edges).tolist(), strict=True):
        left = 4 * length
        while left:
            run = min(left, 1 << _BRUSH_BITS[-1])
            index = next(index for index, size in enumerate(_BRUSH_BITS) if run <= 1 << size)
            bits.append(f"1{index:02b}{run - 1:0{_BRUSH_BITS[index]}b}{255 * bool(values[start]):08b}")
            left -= run
    return np.packbits(np.frombuffer("".join(bits).encode(), np.uint8) - ord("0")).tolist()
