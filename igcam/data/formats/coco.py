"""COCO instances: reading a JSON of annotations, and writing one."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from igcam.core.errors import IgcamError
from igcam.core.files import read_json, write_chunks
from igcam.data.cue import BoxCue, Cue, MaskCue
from igcam.data.export_item import ExportItem, Record, Writer, export_format, json_array, put_photo
from igcam.data.masks import IGNORE
from igcam.data.objects import MaskObject, TrueObject
from igcam.data.polygons import outlines
from igcam.data.sample import Dataset, Sample, choose_classes, named_once, tag_to_mask_id

_MAX_OUTLINE = 2e7
"""Pixels; pycocotools allocates memory in proportion to the length of a polygon, and crashes where there is none."""


@dataclass(frozen=True)
class CocoShape:
    """Segmentation of one annotation."""

    mask_id: int
    """1..C, or 255 for a crowd."""
    segmentation: Any
    """As in the JSON: a list of polygons, or a run-length code."""
    number: int = 0

    def code(self, height: int, width: int) -> Any:
        """Return pycocotools' run-length code for an image of that size, None if it is empty; any error if damaged."""
        code = self.segmentation
        if not isinstance(code, list):
            if list(code["size"]) != [height, width]:
                raise ValueError(f"size {code['size']} in an image of {[height, width]}")
            listed = isinstance(code["counts"], list)
            lengths = np.array(code["counts"]).astype(np.int64) if listed else _lengths(code["counts"])
            # Where a code is too short pycocotools leaves pixels uninitialised.
            if (lengths < 0).any() or int(lengths.sum()) != height * width:
                raise ValueError(f"run lengths must be at least 0 and add up to {height} x {width}")
            return coco.frPyObjects(code, height, width) if listed else code
        # pycocotools would take a list of four numbers for a box.
        polygons = [np.array(polygon, np.float64) for polygon in code if len(polygon) >= 6]
        for polygon in polygons:
            outline = np.abs(polygon[2:] - polygon[:-2]).sum()
            if not (np.abs(polygon).max() <= _MAX_OUTLINE and outline <= _MAX_OUTLINE):
                raise ValueError(f"a polygon is not finite, or larger than {_MAX_OUTLINE:.0f} pixels")
        if not polygons:
            return None
        return coco.merge(coco.frPyObjects([list(polygon) for polygon in polygons], height, width))


def _lengths(counts: str | bytes) -> NDArray[np.int64]:
    """Decode the text of a compressed run-length code to int64 run lengths.

    Each character holds five bits, the lowest first, and a bit for "more follow"; the fifth bit of the last one
    is the sign. From the fourth on, a number is the difference to the length before the last.

    Source: maskApi.c of the COCO API, rleFrString.
    """
    text = counts.encode("ascii") if isinstance(counts, str) else counts
    values = np.frombuffer(text, np.uint8).astype(np.int64) - 48
    if not values.size or values.min() < 0 or values.max() > 63 or values[-1] & 32:
        raise ValueError("its text is no run-length code")
    ends = np.flatnonzero(values & 32 == 0)
    starts = np.concatenate([[0], ends[:-1] + 1])
    bits = 5 * (np.arange(values.size) - np.repeat(starts, ends - starts + 1))
    if bits.max() > 30:
        raise ValueError("its text has a number of over 35 bits")
    numbers = np.add.reduceat((values & 31) << bits, starts) - ((values[ends] & 16) << (bits[ends] + 1))
    for first in (1, 2):
        numbers[first::2] = np.cumsum(numbers[first::2])
    return numbers


@dataclass(frozen=True, eq=False)
class CocoMask:
    """Mask of the annotations of an image, rasterised when it is read; an `ObjectSource`.

    Crowds lie below all objects, as 255. Where objects overlap, the one with fewer pixels is on top, of equal
    ones the later.
    """

    name: str
    height: int
    width: int
    shapes: tuple[CocoShape, ...]

    def read(self) -> NDArray[np.uint8]:
        """Return uint8 (height, width): ids of the shapes, 0 elsewhere; IgcamError where a segmentation is damaged."""
        mask = np.zeros((self.height, self.width), np.uint8)
        for shape, region in self._stacked():
            mask[region] = shape.mask_id
        return mask

    def objects(self) -> list[TrueObject]:
        """Return the annotations except crowds with their visible pixels, hidden ones left out; errors as `read`."""
        top = np.full((self.height, self.width), -1)
        shapes = []
        for index, (shape, region) in enumerate(self._stacked()):
            shapes.append(shape)
            top[region] = index
        visible = [(shape, top == index) for index, shape in enumerate(shapes) if shape.mask_id != IGNORE]
        return [TrueObject(shape.mask_id, shape.number, region) for shape, region in visible if region.any()]

    def _stacked(self) -> Iterator[tuple[CocoShape, NDArray[np.bool_]]]:
        """Yield the shapes from the lowest to the topmost, each with all its pixels."""
        try:
            codes = [(shape, shape.code(self.height, self.width)) for shape in self.shapes]
        except Exception as error:  # pycocotools raises bare Exception
            raise IgcamError(f"{self.name}: a COCO segmentation cannot be drawn: {error}") from error
        drawn = [(shape, code) for shape, code in codes if code is not None]
        for shape, code in sorted(drawn, key=lambda item: (item[0].mask_id != IGNORE, -int(coco.area(item[1])))):
            yield shape, coco.decode(code).astype(bool)


def read_coco(images: str | Path, annotations: str | Path, classes: Sequence[str] | None = None) -> Dataset:
    """Read the images of a COCO instances file.

    Args:
        images: Folder that holds the `file_name` of each image.
        annotations: `instances_*.json`.
        classes: Names of categories in the order of their mask ids; annotations of others are dropped, so
            their pixels are background. None takes all: mask ids 1..C in the order of category ids.

    Returns:
        One sample an image, in the file's order. Tags are the classes that have an annotation, crowds
        included. The truth is rasterised when it is read; see `CocoMask`.

    >>> dataset = igcam.read_coco("coco/images", "coco/annotations.json")
    >>> len(dataset), dataset.samples[0].tags
    (16, (1, 2, 3))

    Raises:
        IgcamError: The JSON is no instances file, a class is unknown, or images are missing, all listed.
    """
    content = _Content.read(annotations, classes)
    folder = Path(images)
    missing = [image["file_name"] for image in content.images if not os.path.isfile(folder / image["file_name"])]
    if missing and len(missing) == len(content.images):
        raise IgcamError(f"{folder}: has none of the {len(missing)} images of {annotations}")
    if missing:
        raise IgcamError.from_lines(f"{folder}: {len(missing)} images of {annotations} are missing", missing)
    samples = []
    for image in content.images:
        shapes, tags = [], set()
        for annotation in content.annotations[image["id"]]:
            tag = content.tag_of[annotation["category_id"]]
            tags.add(tag)
            mask_id = IGNORE if annotation.get("iscrowd") else tag_to_mask_id(tag)
            shapes.append(CocoShape(mask_id, annotation.get("segmentation") or [], annotation["id"]))
        name = _name(image)
        truth = CocoMask(name, image["height"], image["width"], tuple(shapes))
        samples.append(Sample(name, folder / image["file_name"], tuple(sorted(tags)), (), truth))
    return Dataset(content.classes, tuple(samples))


def coco_cues(
    annotations: str | Path, classes: Sequence[str] | None = None, kind: Literal["box", "mask"] = "box"
) -> dict[str, tuple[Cue, ...]]:
    """Return the objects of a COCO instances file as cues, by name of the sample, for `Dataset.with_cues`.

    Crowds and boxes without area are left out; boxes are clipped to the image. The instance of a cue is the id of its
    annotation. Samples without cues are absent. The kind is boxes, or masks of single objects; the other arguments are
    those of `read_coco`.

    Raises:
        IgcamError: The JSON is no instances file, a class is unknown, or a box is not four numbers.
    """
    if kind not in ("box", "mask"):
        raise ValueError(f"kind must be 'box' or 'mask', got '{kind}'")
    content = _Content.read(annotations, classes)
    cues: dict[str, tuple[Cue, ...]] = {}
    for image in content.images:
        name, height, width = _name(image), image["height"], image["width"]
        found: list[Cue] = []
        for annotation in content.annotations[image["id"]]:
            if annotation.get("iscrowd"):
                continue
            label, instance = tag_to_mask_id(content.tag_of[annotation["category_id"]]), annotation["id"]
            if kind == "mask":
                shape = CocoShape(1, annotation.get("segmentation") or [])
                found.append(MaskCue(label=label, instance=instance, source=CocoMask(name, height, width, (shape,))))
                continue
            try:
                x, y, w, h = (float(value) for value in annotation["bbox"])
            except (KeyError, TypeError, ValueError) as error:
                raise IgcamError(f"{annotations}: annotation {instance} has no bbox of four numbers") from error
            left, top, right, bottom = max(x, 0.0), max(y, 0.0), min(x + w, width), min(y + h, height)
            if left < right and top < bottom:
                found.append(BoxCue(label=label, instance=instance, left=left, top=top, right=right, bottom=bottom))
        if found:
            cues[name] = tuple(found)
    return cues


@dataclass(frozen=True)
class _Content:
    classes: tuple[str, ...]
    tag_of: dict[int, int]
    images: list[dict[str, Any]]
    annotations: dict[int, list[dict[str, Any]]]

    @classmethod
    def read(cls, path: str | Path, wanted: Sequence[str] | None) -> _Content:
        content = read_json(path)
        try:
            categories = {int(item["id"]): str(item["name"]) for item in content["categories"]}
            names = [categories[number] for number in sorted(categories)]
            images = content["images"]
            annotations: dict[int, list[dict[str, Any]]] = {}
            for image in images:
                named, sides = image["file_name"], (image["height"], image["width"])
                if not isinstance(named, str) or not all(isinstance(side, int) and side > 0 for side in sides):
                    raise ValueError(f"image {image['id']} has no file name, height or width")
                annotations[image["id"]] = []
            for annotation in content["annotations"]:
                number, image, category = (annotation[key] for key in ("id", "image_id", "category_id"))
                if category not in categories:
                    raise ValueError(f"annotation {number} has the unknown category {category}")
                if image not in annotations:
                    raise ValueError(f"annotation {number} has the unknown image {image}")
                annotations[image].append(annotation)
        except KeyError as error:
            raise IgcamError(f"{path}: is not a COCO instances file: {error} is missing") from error
        except (TypeError, ValueError) as error:
            raise IgcamError(f"{path}: is not a COCO instances file: {error}") from error
        for what, values in (("category name", names), ("image name", [_name(image) for image in images])):
            for name, count in Counter(values).items():
                if count > 1:
                    raise IgcamError(f"{path}: has the {what} '{name}' twice")
        classes = choose_classes(names, wanted, str(path))
        if wanted is None and names:
            try:
                named_once(names)
            except IgcamError as error:
                raise IgcamError(f"{path}: {error}") from error
        tag_of = {number: classes.index(name) for number, name in categories.items() if name in classes}
        for number in annotations:
            annotations[number] = [item for item in annotations[number] if item["category_id"] in tag_of]
        return cls(classes, tag_of, images, annotations)


def _name(image: dict[str, Any]) -> str:
    return PurePosixPath(image["file_name"]).with_suffix("").as_posix()


@export_format("coco")
class CocoWriter(Writer):
    """Every object is an annotation; unknown pixels are a crowd of every class in the mask.

        images/NAME.jpg
        annotations.json    categories 1..C; segmentation as polygons or as run-length codes

    Polygons run along the edges of pixels, so that rasterising them by COCO's rule gives the same pixels, holes
    included; crowds are run-length codes, as COCO requires. Unknown pixels of a mask without any class become
    background, as a crowd needs a category.
    """

    def write(self, item: ExportItem) -> Record:
        """Write the photo, and return its annotations."""
        file = put_photo(item, self.out / "images", item.name, self.options.link)
        height, width = item.mask.shape
        annotations = []
        for found in item.objects:
            if self.options.shape == "mask":
                annotations.append(_annotation(found.label, found, _code(found.in_image(height, width))))
            else:
                rings = outlines(found.region, tolerance=self.options.tolerance)
                annotations.append(_annotation(found.label, found, [_corners(found.to_image(ring)) for ring in rings]))
        if item.unknown:
            unknown = item.mask == IGNORE
            crowd, code = MaskObject.cut(IGNORE, unknown), _code(unknown)
            for label in sorted({found.label for found in item.objects}):
                annotations.append(_annotation(label, crowd, code, crowd=1))
        return {"file_name": file, "height": height, "width": width, "annotations": annotations}

    def finish(self, records: Iterable[Record]) -> None:
        """Write annotations.json."""
        write_chunks(self.out / "annotations.json", self._text(records))

    def loses_unknown(self, item: ExportItem) -> bool:
        """Return whether the image has unknown pixels and no object."""
        return item.unknown and not item.objects

    def _text(self, records: Iterable[Record]) -> Iterator[str]:
        categories = [{"id": number, "name": name} for number, name in enumerate(self.classes, start=1)]
        yield f'{{"categories": {json.dumps(categories, ensure_ascii=False)},\n"images": '
        keys = ("file_name", "height", "width")
        yield from json_array({"id": n} | {key: record[key] for key in keys} for n, record in enumerate(records, 1))
        yield ',\n"annotations": '
        every = ((n, annotation) for n, record in enumerate(records, 1) for annotation in record["annotations"])
        yield from json_array({"id": count, "image_id": n} | item for count, (n, item) in enumerate(every, 1))
        yield "}\n"


def _annotation(label: int, found: MaskObject, segmentation: Any, crowd: int = 0) -> dict[str, Any]:
    where = {"area": found.area, "bbox": list(found.box), "segmentation": segmentation}
    return {"category_id": label, "iscrowd": crowd, **where}


def _code(region: NDArray[np.bool_]) -> dict[str, object]:
    code = coco.encode(np.asfortranarray(region, np.uint8))
    return {"size": list(region.shape), "counts": code["counts"].decode()}


def _corners(ring: NDArray[np.float64]) -> list[int | float]:
    return [int(value) if value.is_integer() else round(value, 2) for value in ring.ravel().tolist()]
