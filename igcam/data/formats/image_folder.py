"""A folder of images and masks with a table, as the `imagefolder` loader of Hugging Face datasets reads it."""

from __future__ import annotations

import json
from collections.abc import Iterable

from igcam.core.files import write_chunks, write_json
from igcam.data.export_item import ExportItem, Record, Writer, export_format, put_photo
from igcam.data.masks import BACKGROUND, write_mask


@export_format("folder")
class ImageFolderWriter(Writer):
    """Photos, masks and a table; masks keep their ids and 255.

    images/NAME.jpg
    masks/NAME.png
    metadata.jsonl     file_name and mask_file_name of each image: the columns image and mask
    id2label.json      {"0": "background", "1": ...}, as models there expect it
    """

    def write(self, item: ExportItem) -> Record:
        """Write photo and mask of one image."""
        file = put_photo(item, self.out / "images", item.name, self.options.link)
        write_mask(self.out / "masks" / f"{item.name}.png", item.mask)
        return {"file_name": f"images/{file}", "mask_file_name": f"masks/{item.name}.png"}

    def finish(self, records: Iterable[Record]) -> None:
        """Write metadata.jsonl and id2label.json."""
        names = enumerate((BACKGROUND, *self.classes))
        write_json(self.out / "id2label.json", {str(number): name for number, name in names})
        write_chunks(self.out / "metadata.jsonl", (json.dumps(row, ensure_ascii=False) + "\n" for row in records))
