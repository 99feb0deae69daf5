"""Export formats: writers of one image at a time, found by name."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from igcam.core.files import copy_file
from igcam.core.validation import Natural, Rule, between, options
from igcam.data import formats
from igcam.data.images import ImageFacts, load_image, save_jpeg, save_png
from igcam.data.masks import IGNORE
from igcam.data.objects import MaskObject

Record = dict[str, Any]
"""Facts about one image for the files about all images; fits into JSON."""
_NAME = Rule(lambda text: text.replace("-", "").replace("_", "").isalnum(), "of letters, digits, - and _")


@options
class ExportOptions:
    """Options of an export."""

    shape: Literal["polygon", "mask"] = "polygon"
    """Objects of COCO and Label Studio: polygons, or run-length codes."""
    tolerance: Annotated[float, between(0, 100)] = 0.0
    """Largest distance in pixels between a simplified polygon and the edge, 0 to 100; 0 is exact."""
    min_area: Natural = 0
    """Pixels of the smallest object; smaller ones are left out. Semantic masks keep them."""
    link: bool = False
    """Whether photos that need no conversion become hard links instead of copies."""
    split: Annotated[str, _NAME] = "train"
    """Name of the image list of a VOC export: letters, digits, - and _."""
    address: str = "/data/local-files/?d=images/"
    """URL prefix of the photos in Label Studio; the path below OUT/images follows."""


@dataclass(frozen=True, eq=False)
class ExportItem:
    """One image to export."""

    name: str
    photo: Path
    facts: ImageFacts
    mask: NDArray[np.uint8]
    """uint8 (H, W): ids 0..C and 255, at the size of the photo as displayed."""
    objects: list[MaskObject]
    """Its objects of at least `ExportOptions.min_area` pixels."""

    @property
    def unknown(self) -> bool:
        """Whether the mask has pixels of 255."""
        return bool((self.mask == IGNORE).any())


class Writer(ABC):
    """An export format: a subclass under `@export_format(NAME)` in a module of `igcam.data.formats`.

    It gets the folder of the export, the names of mask ids 1..C, and the options.
    """

    flat: ClassVar[bool] = False
    """Whether the format has no folders: `flat_name` then names the files."""
    keeps_unknown: ClassVar[bool] = True
    """Whether the format can hold pixels of 255; else they become background."""

    def __init__(self, out: Path, classes: tuple[str, ...], options: ExportOptions) -> None:
        self.out, self.classes, self.options = out, classes, options

    @abstractmethod
    def write(self, item: ExportItem) -> Record:
        """Write the files of one image; called from several threads."""

    @abstractmethod
    def finish(self, records: Iterable[Record]) -> None:
        """Write the files about all images from their records, which can be iterated more than once."""

    def loses_unknown(self, item: ExportItem) -> bool:
        """Return whether pixels of 255 in this image become background."""
        return item.unknown and not self.keeps_unknown


_WRITERS: dict[str, type[Writer]] = {}


def export_format(name: str) -> Callable[[type[Writer]], type[Writer]]:
    """Register a writer as the export format of this name."""

    def register(writer: type[Writer]) -> type[Writer]:
        _WRITERS[name] = writer
        return writer

    return register


def export_formats() -> dict[str, type[Writer]]:
    """Return all export formats by name, sorted; every module of `igcam.data.formats` is imported."""
    for module in iter_modules(formats.__path__):
        import_module(f"{formats.__name__}.{module.name}")
    return dict(sorted(_WRITERS.items()))


def put_photo(item: ExportItem, folder: Path, name: str, link: bool, jpeg: bool = False) -> str:
    """Write a photo as it is displayed, unless it is there already; return its path below the folder, with suffix.

    Upright JPEG and PNG files of 8 bits, without transparency and further frames, are copied, or linked where the file
    system allows. All others are converted to PNG, or to JPEG of quality 95. `name` is the path below the folder,
    without suffix; with `jpeg` the result must be NAME.jpg; with `link` copies become hard links.

    Raises:
        IgcamError: The photo cannot be read, or the disk is full.
    """
    suffix, facts = item.photo.suffix.lower(), item.facts
    plain = facts.mode in ("RGB", "L") and facts.orientation == facts.frames == 1
    copied = suffix in ((".jpg", ".jpeg") if jpeg else (".jpg", ".jpeg", ".png"))
    copied = copied and plain and not facts.alpha and not facts.sixteen_bit
    target = f"{name}{'.jpg' if jpeg else suffix if copied else '.png'}"
    if not (folder / target).exists():
        if copied:
            copy_file(item.photo, folder / target, link)
        else:
            (save_jpeg if jpeg else save_png)(folder / target, load_image(item.photo))
    return target


def flat_name(name: str) -> str:
    """Return the name of a sample without folders: a/b becomes a__b."""
    return name.replace("/", "__")


def json_array(rows: Iterable[Record]) -> Iterator[str]:
    """Yield the text of a JSON array, one row a line, without holding all rows in memory."""
    yield "["
    for number, row in enumerate(rows):
        yield (",\n" if number else "\n") + json.dumps(row, ensure_ascii=False)
    yield "\n]"
