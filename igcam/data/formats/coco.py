"""COCO instances JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from igcam.core.errors import IgcamError
from igcam.core.files import read_json, write_chunks
from igcam.data.cue import BoxCue, Cue, MaskCue
from igcam.data.export_item import ExportItem, ExportOptions, Record, Records, put_photo
from igcam.data.mask_objects import MaskObject
from igcam.data.masks import IGNORE
from igcam.data.outlines import outlines
from igcam.data.run_lengths import coco_code
from igcam.data.sample import Dataset, Sample, choose_classes, named_once, tag_to_mask_id
from igcam.data.true_objects import TrueObject


@dataclass(frozen=True)
class CocoShape:
    """One annotation: where it is and which id it gets."""

    mask_id: int
    """1..C, or 255 for a crowd."""
    segmentation: Any
    """As in the JSON: a list of polygons, or a run-length code."""
    number: int = 0
    """The annotation's id."""


@dataclass(frozen=True, eq=False)
class CocoMask:
    """The mask that annotations draw; an `ObjectSource`.

    Crowds lie below all objects, as 255. Where objects overlap the one with fewer pixels is on top, of
    equal ones the later.
    """

    name: str
    """The image's name, for messages."""
    height: int
    width: int
    shapes: tuple[CocoShape, ...]

    def read(self) -> NDArray[np.uint8]:
        """Return uint8 (height, width): ids of the shapes, 0 elsewhere.

        Raises:
            IgcamError: pycocotools is not installed, or a segmentation is damaged.
        """
        mask = np.zeros((self.height, self.width), np.uint8)
        for shape, inside in self._drawn():
            mask[inside] = shape.mask_id
        return mask

    def objects(self) -> list[TrueObject]:
        """Return the annotations but crowds, each with the pixels where it is on top; the hidden are left out.

        Raises:
            IgcamError: As for `read`.
        """
        top = np.full((self.height, self.width), -1)
        shapes = []
        for position, (shape, inside) in enumerate(self._drawn()):
            shapes.append(shape)
            top[inside] = position
        regions = [(shape, top == position) for position, shape in enumerate(shapes) if shape.mask_id != IGNORE]
        return [TrueObject(shape.mask_id, shape.number, region) for shape, region in regions if region.any()]

    def _drawn(self) -> Iterator[tuple[CocoShape, NDArray[np.bool_]]]:
        """Yield the shapes from the lowest to the topmost, each with all its pixels."""
        coco = _pycocotools()
        codes = []
        for shape in self.shapes:
            code = self._encode(shape.segmentation, coco)
            if code is not None:
                codes.append((shape.mask_id != IGNORE, -int(coco.area(code)), shape, code))
        for _, _, shape, code in sorted(codes, key=lambda item: item[:2]):
            yield shape, self._decode(code, coco)

    def _encode(self, segmentation: Any, coco: Any) -> Any:
        try:
            if isinstance(segmentation, list):
                # pycocotools takes a list of four numbers for a box.
                polygons = [polygon for polygon in segmentation if len(polygon) >= 6]
                if not polygons:
                    return None
                return coco.merge(coco.frPyObjects(polygons, self.height, self.width))
            if list(segmentation["size"]) != [self.height, self.width]:
                raise ValueError(f"size {segmentation['size']} in an image of {[self.height, self.width]}")
            if isinstance(segmentation["counts"], list):
                return coco.frPyObjects(segmentation, self.height, self.width)
            return segmentation
        except Exception as error:  # pycocotools raises bare Exception
            raise IgcamError(f"{self.name}: a COCO segmentation cannot be drawn: {error}") from error

    def _decode(self, code: Any, coco: Any) -> NDArray[np.bool_]:
        try:
            region: NDArray[np.bool_] = coco.decode(code).astype(bool)
        except ValueError as error:
            raise IgcamError(f"{self.name}: a COCO segmentation cannot be drawn: {error}") from error
        return region


def read_coco(images: str | Path, annotations: str | Path, classes: Sequence[str] | None = None) -> Dataset:
    """Read the images of a COCO instances file.

    Args:
        images: The folder that holds the `file_name` of each image.
        annotations: `instances_*.json`.
        classes: Names of categories in the order of their mask ids; annotations of others are dropped, so
            that their pixels are background. None takes all: mask ids 1..C in the order of category ids.

    Returns:
        One sample an image, in the file's order. Tags are the classes that have an annotation, crowds
        included. The truth is drawn when it is read, which needs pycocotools; see `CocoMask`.

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
        for annotation in content.annotations.get(image["id"], []):
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
    """Return the objects of a COCO instances file as cues, for `Dataset.with_cues`.

    Crowds are left out, and so are boxes without area; boxes are clipped to the image. The instance of a
    cue is the annotation's id.

    Args:
        annotations: `instances_*.json`.
        classes: As for `read_coco`.
        kind: Boxes, or masks of single objects.

    Raises:
        IgcamError: The JSON is no instances file, or a class is unknown.
    """
    if kind not in ("box", "mask"):
        raise ValueError(f"kind must be 'box' or 'mask', got '{kind}'")
    content = _Content.read(annotations, classes)
    cues: dict[str, tuple[Cue, ...]] = {}
    for image in content.images:
        height, width = image["height"], image["width"]
        drawn: list[Cue] = []
        for annotation in content.annotations.get(image["id"], []):
            if annotation.get("iscrowd"):
                continue
            label, instance = tag_to_mask_id(content.tag_of[annotation["category_id"]]), annotation["id"]
            if kind == "mask":
                shape = CocoShape(1, annotation.get("segmentation") or [])
                source = CocoMask(_name(image), height, width, (shape,))
                drawn.append(MaskCue(label=label, instance=instance, source=source))
                continue
            try:
                x, y, w, h = (float(value) for value in annotation["bbox"])
            except (KeyError, TypeError, ValueError) as error:
                raise IgcamError(f"{annotations}: annotation {instance} has no bbox of four numbers") from error
            left, top, right, bottom = max(x, 0.0), max(y, 0.0), min(x + w, width), min(y + h, height)
            if left < right and top < bottom:
                drawn.append(BoxCue(label=label, instance=instance, left=left, top=top, right=right, bottom=bottom))
        if drawn:
            cues[_name(image)] = tuple(drawn)
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
        _refuse_repeats(path, "category name", names)
        _refuse_repeats(path, "image name", [_name(image) for image in images])
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


def _refuse_repeats(path: str | Path, what: str, names: list[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise IgcamError(f"{path}: has the {what} '{name}' twice")
        seen.add(name)


def _name(image: dict[str, Any]) -> str:
    return PurePosixPath(image["file_name"]).with_suffix("").as_posix()


def _pycocotools() -> Any:
    try:
        return import_module("pycocotools.mask")
    except ImportError as error:
        message = "masks of COCO need pycocotools, which is not installed: pip install 'igcam[export]'"
        raise IgcamError(message) from error


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
