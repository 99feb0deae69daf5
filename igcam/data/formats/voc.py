"""PASCAL VOC 2012 and data in its layout: reading a list of images, and writing one."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from igcam.core.errors import IgcamError
from igcam.core.files import write_text
from igcam.data.export_item import ExportItem, Record, Writer, export_format, put_photo
from igcam.data.masks import IGNORE, MAXIMUM_CLASSES, MaskFile, lookup_for, write_mask
from igcam.data.sample import Dataset, Sample, choose_classes, mask_id_to_tag

_NAMES = (
    "aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person pottedplant sheep "
    "sofa train tvmonitor"
)
VOC_CLASSES = tuple(_NAMES.split())


def read_voc(
    root: str | Path, split: str = "train", classes: Sequence[str] | None = None, masks: str = "SegmentationClass"
) -> Dataset:
    """Read the images of a list from a VOC root.

    Args:
        root: Folder with `JPEGImages`, the masks and `ImageSets/Segmentation`.
        split: Name of a list there (train, val, train_aug, ...), or the path of a list file: one name a line.
        classes: VOC names in the order of their mask ids. Pixels of the others become background and
            their tags are dropped. None takes all 20.
        masks: Folder of the colour-mapped PNGs, for example SegmentationClassAug.

    Returns:
        One sample a line, in the order of the list. Tags are the classes in the mask.

    >>> dataset = igcam.read_voc("voc", "train", ["aeroplane", "bicycle", "bird", "boat", "bottle"])
    >>> len(dataset)
    16

    Raises:
        IgcamError: The list is missing or repeats a name, a class is unknown, a mask has ids unknown to
            VOC, or images or masks are missing, all listed.
    """
    root = Path(root)
    wanted = choose_classes(VOC_CLASSES, classes, "VOC")
    lookup = lookup_for(dict(enumerate(VOC_CLASSES, start=1)), wanted)
    file = _list_file(root, split)
    names = _read_list(file)
    images = {name: root / "JPEGImages" / f"{name}.jpg" for name in names}
    truths = {name: MaskFile(root / masks / f"{name}.png", lookup) for name in names}
    missing = [str(path) for name in names for path in (images[name], truths[name].path) if not os.path.isfile(path)]
    if missing:
        raise IgcamError.from_lines(f"{file}: {len(missing)} files of its images are missing", missing)

    def tags_or_problem(name: str) -> tuple[int, ...] | str:
        try:
            ids = truths[name].ids()
        except IgcamError as error:
            return str(error)
        return tuple(mask_id_to_tag(value) for value in ids if value not in (0, IGNORE))

    with ThreadPoolExecutor() as threads:
        found = dict(zip(names, threads.map(tags_or_problem, names), strict=True))
    if damaged := [problem for problem in found.values() if isinstance(problem, str)]:
        raise IgcamError.from_lines(f"{file}: {len(damaged)} masks of its images cannot be used", damaged)
    tagged = ((name, tags) for name, tags in found.items() if not isinstance(tags, str))
    return Dataset(wanted, tuple(Sample(name, images[name], tags, (), truths[name]) for name, tags in tagged))


def _list_file(root: Path, split: str) -> Path:
    lists = root / "ImageSets" / "Segmentation"
    for candidate in (lists / f"{split}.txt", Path(split)):
        if os.path.isfile(candidate):
            return candidate
    known = ", ".join(sorted(file.stem for file in lists.glob("*.txt"))) or "none"
    raise IgcamError(f"{root}: has no list '{split}' in ImageSets/Segmentation; there is {known}")


def _read_list(file: Path) -> list[str]:
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise IgcamError(f"{file}: cannot be read: {error}") from error
    names: dict[str, int] = {}
    repeats = []
    for number, line in enumerate(lines, start=1):
        name = line.strip()
        if name in names:
            repeats.append(f"{file}:{number}: '{name}' is in line {names[name]} already")
        elif name:
            names[name] = number
    if repeats:
        raise IgcamError.from_lines(f"{file}: {len(repeats)} names are repeated", repeats)
    if not names:
        raise IgcamError(f"{file}: is empty; it needs the name of an image in each line")
    return list(names)


@export_format("voc")
class VocWriter(Writer):
    """Photos, semantic masks, masks of objects and an image list.

        VOCdevkit/VOC2012/JPEGImages/NAME.jpg
        VOCdevkit/VOC2012/SegmentationClass/NAME.png
        VOCdevkit/VOC2012/SegmentationObject/NAME.png          objects 1, 2, ...; 255: beyond 254, or too small
        VOCdevkit/VOC2012/ImageSets/Segmentation/SPLIT.txt
        VOCdevkit/VOC2012/classes.txt                          name of id 1, of id 2, ...

    Masks keep their ids and 255. Every photo becomes a JPEG, as VOC knows no other.
    """

    @property
    def root(self) -> Path:
        """The folder that `read_voc` takes."""
        return self.out / "VOCdevkit" / "VOC2012"

    def write(self, item: ExportItem) -> Record:
        """Write photo, classes and objects of one image."""
        put_photo(item, self.root / "JPEGImages", item.name, self.options.link, jpeg=True)
        write_mask(self.root / "SegmentationClass" / f"{item.name}.png", item.mask)
        # Objects without a number of their own are unknown.
        numbers = np.where(item.mask > 0, np.uint8(IGNORE), np.uint8(0))
        largest = sorted(range(len(item.objects)), key=lambda index: -item.objects[index].area)
        for number, index in enumerate(sorted(largest[:MAXIMUM_CLASSES]), start=1):
            item.objects[index].paint(numbers, number)
        write_mask(self.root / "SegmentationObject" / f"{item.name}.png", numbers)
        return {"name": item.name}

    def finish(self, records: Iterable[Record]) -> None:
        """Write the image list and the names of the classes."""
        names = "".join(f"{record['name']}\n" for record in records)
        write_text(self.root / "ImageSets" / "Segmentation" / f"{self.options.split}.txt", names)
        write_text(self.root / "classes.txt", "".join(f"{name}\n" for name in self.classes))
