"""Export as a folder of images and masks with a table, which Hugging Face's `imagefolder` reads."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from igcam.core.files import write_chunks, write_json
from igcam.data.export_item import ExportItem, ExportOptions, Record, Records, put_photo
from igcam.data.masks import BACKGROUND, write_mask


@dataclass(frozen=True)
class ImageFolderWriter:
    """Photos, masks and a table.

        images/NAME.jpg
        masks/NAME.png
        metadata.jsonl     file_name and mask_file_name of each image: the columns image and mask
        id2label.json      {"0": "background", "1": ...}, as models there want it

    Masks keep their ids and 255.
    """

    out: Path
    classes: tuple[str, ...]
    options: ExportOptions

    def write(self, item: ExportItem) -> Record:
        """Write photo and mask of one image."""
        file = put_photo(item, self.out / "images", item.name, self.options.link)
        write_mask(self.out / "masks" / f"{item.name}.png", item.mask)
        return {"file_name": f"images/{file}", "mask_file_name": f"masks/{item.name}.png"}

    def finish(self, records: Records) -> None:
        """Write metadata.jsonl and id2label.json."""
        write_json(self.out / "id2label.json", {str(number): name for number, name in enumerate(self._names())})
        write_chunks(self.out / "metadata.jsonl", (json.dumps(row, ensure_ascii=False) + "\n" for row in records))

    def _names(self) -> tuple[str, ...]:
        return (BACKGROUND, *self.classes)
