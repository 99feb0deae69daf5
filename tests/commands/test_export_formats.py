"""Every format is read back by its own ecosystem's reader."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

import numpy as np
import pytest
from brush_reader import brush_region
from PIL import Image

from igcam.commands.export import Exported, export
from igcam.core.errors import IgcamError
from igcam.data.export_item import ExportOptions
from igcam.data.formats.coco import read_coco
from igcam.data.formats.folder import read_photos
from igcam.data.images import load_image, save_jpeg, save_png
from igcam.data.masks import read_mask_file, write_mask

CLASSES = ("cat", "große Kuh", 'dog "x"')
Masks = dict[str, np.ndarray]


def some_masks() -> Masks:
    """Return masks with all that is awkward, by the name of their photo."""
    plain = np.zeros((40, 60), np.uint8)
    plain[5:30, 4:25] = 1
    plain[10:20, 10:18] = 0
    plain[12:15, 12:16] = 3
    plain[2:35, 40:55] = 1
    plain[8:12, 45:50] = 2
    plain[:, 59] = 255
    plain[5:30, 25] = 255
    dots = np.zeros((17, 23), np.uint8)
    dots[0, 0] = dots[16, 22] = 2
    dots[5, 5] = dots[6, 6] = dots[7, 5] = 3
    dots[10, 3:20] = 1
    turned = np.zeros((30, 20), np.uint8)
    turned[3:9, 2:18] = 2
    void = np.zeros((9, 12), np.uint8)
    void[2:4] = 255
    noise = np.random.default_rng(0).choice(np.array([0, 1, 2, 3, 255], np.uint8), (25, 31))
    return {
        "plain.jpg": plain,
        "farm/empty.png": np.zeros((12, 10), np.uint8),
        "farm/a b/dots ü.png": dots,
        "turned.jpg": turned,
        "void.jpg": void,
        "other.bmp": noise,
    }


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Photos and masks; turned.jpg lies on its side and is turned by its EXIF orientation."""
    for number, (file, mask) in enumerate(some_masks().items()):
        path = tmp_path / "photos" / file
        image = np.random.default_rng(number).integers(0, 256, (*mask.shape, 3), np.uint8)
        if file == "turned.jpg":
            exif = Image.Exif()
            exif[0x0112] = 6
            Image.fromarray(np.rot90(image)).save(path, exif=exif)
        elif path.suffix == ".bmp":
            Image.fromarray(image).save(path)
        else:
            (save_jpeg if path.suffix == ".jpg" else save_png)(path, image)
        write_mask((tmp_path / "masks" / file).with_suffix(".png"), mask)
    return tmp_path


def exported(source: Path, format: str, **options: Any) -> tuple[Path, Masks, Exported]:
    """Export, and return the folder and the masks by name."""
    dataset = read_photos(source / "photos", None, CLASSES)
    result = export(source / "masks", dataset, source / "out", format, ExportOptions(**options))
    names = {str(Path(file).with_suffix("")): mask for file, mask in some_masks().items()}
    assert result.images == len(names)
    assert {file.name for file in (source / "out").iterdir() if file.name.startswith(".")} == set()
    return source / "out", names, result


def without_unknown(mask: np.ndarray) -> np.ndarray:
    return np.where(mask == 255, 0, mask).astype(np.uint8)


def test_torchvision_reads_voc(source: Path) -> None:
    from torchvision.datasets import VOCSegmentation

    out, masks, _ = exported(source, "voc", split="val")
    read = VOCSegmentation(str(out), year="2012", image_set="val")
    assert len(read) == len(masks)
    for (image, target), mask in zip(read, (masks[name] for name in sorted(masks)), strict=True):
        np.testing.assert_array_equal(np.array(target), mask)
        assert image.mode == "RGB"
        assert image.size == target.size
    root = out / "VOCdevkit" / "VOC2012"
    assert (root / "classes.txt").read_text("utf-8").splitlines() == list(CLASSES)
    objects = read_mask_file(root / "SegmentationObject" / "plain.png")
    assert sorted(np.unique(objects)) == [0, 1, 2, 3, 4, 255]
    np.testing.assert_array_equal((objects > 0) & (objects < 255), (masks["plain"] > 0) & (masks["plain"] < 255))


def test_photos_are_as_they_are_displayed(source: Path) -> None:
    out, _, _ = exported(source, "folder")
    shown = load_image(source / "photos" / "turned.jpg")
    with Image.open(out / "images" / "turned.png") as copy:
        assert not copy.getexif()
        np.testing.assert_array_equal(np.array(copy), shown)
    assert (out / "images" / "plain.jpg").read_bytes() == (source / "photos" / "plain.jpg").read_bytes()
    np.testing.assert_array_equal(load_image(out / "images" / "other.png"), load_image(source / "photos" / "other.bmp"))


@pytest.mark.parametrize("shape", ["polygon", "mask"])
def test_pycocotools_reads_coco(source: Path, shape: str, capsys: pytest.CaptureFixture[str]) -> None:
    from pycocotools.coco import COCO

    out, masks, result = exported(source, "coco", shape=shape)
    read = COCO(str(out / "annotations.json"))
    capsys.readouterr()
    assert [item["name"] for item in read.loadCats(read.getCatIds())] == list(CLASSES)
    assert result.unknown_lost == 1
    for image in read.loadImgs(read.getImgIds()):
        mask = masks[str(Path(image["file_name"]).with_suffix(""))]
        assert (
            (image["height"], image["width"]) == mask.shape == load_image(out / "images" / image["file_name"]).shape[:2]
        )
        drawn = np.zeros(mask.shape, np.uint8)
        for annotation in read.loadAnns(read.getAnnIds(image["id"])):
            region = read.annToMask(annotation).astype(bool)
            assert annotation["area"] == region.sum()
            rows, columns = np.nonzero(region)
            left, top, width, height = annotation["bbox"]
            assert (left, top) == (columns.min(), rows.min())
            assert (left + width - 1, top + height - 1) == (columns.max(), rows.max())
            if annotation["iscrowd"]:
                np.testing.assert_array_equal(region, mask == 255)
            else:
                assert not drawn[region].any()
                drawn[region] = annotation["category_id"]
        np.testing.assert_array_equal(drawn, without_unknown(mask))


def test_our_own_reader_gives_masks_with_the_unknown_back(source: Path) -> None:
    out, masks, _ = exported(source, "coco")
    read = read_coco(out / "images", out / "annotations.json")
    assert read.classes == CLASSES
    for sample in read:
        expected = masks[sample.name] if sample.name != "void" else np.zeros((9, 12))
        np.testing.assert_array_equal(sample.truth.read() if sample.truth else None, expected)


def test_supervision_reads_coco(source: Path) -> None:
    supervision = pytest.importorskip("supervision")
    out, masks, _ = exported(source, "coco", shape="mask")
    read = supervision.DetectionDataset.from_coco(str(out / "images"), str(out / "annotations.json"), force_masks=True)
    assert read.classes == list(CLASSES)
    compare_with_detections(read, out / "images", masks)


def test_supervision_reads_yolo(source: Path) -> None:
    supervision = pytest.importorskip("supervision")
    out, masks, result = exported(source, "yolo")
    read = supervision.DetectionDataset.from_yolo(
        str(out / "images"), str(out / "labels"), str(out / "data.yaml"), force_masks=True
    )
    assert read.classes == list(CLASSES)
    assert result.unknown_lost == 3
    flat = {name.replace("/", "__"): mask for name, mask in masks.items()}
    compare_with_detections(read, out / "images", flat)
    assert (out / "labels" / "farm__empty.txt").read_text() == ""


def compare_with_detections(read: Any, images: Path, masks: Masks) -> None:
    """Check that each detection lies where the mask has its class, and that together they are the mask."""
    seen = 0
    for path, image, detections in read:
        mask = masks[str(Path(path).relative_to(images).with_suffix(""))]
        seen += 1
        assert image.shape[:2] == mask.shape
        drawn = np.zeros(mask.shape, np.uint8)
        crowd = detections.data.get("iscrowd", np.zeros(len(detections), int))
        for index in range(len(detections)):
            if not crowd[index]:
                drawn[detections.mask[index].astype(bool)] = detections.class_id[index] + 1
        np.testing.assert_array_equal(drawn, without_unknown(mask))
    assert seen == len(masks)


def label_studio(out: Path) -> dict[str, tuple[tuple[int, int], list[dict[str, Any]]]]:
    """Return the regions of each task by name, and the size of its photo."""
    tasks = {}
    for task in json.loads((out / "tasks.json").read_text("utf-8")):
        address = task["data"]["image"]
        assert address.startswith("/data/local-files/?d=images/")
        assert " " not in address
        file = unquote(address.removeprefix("/data/local-files/?d=images/"))
        size = load_image(out / "images" / file).shape[:2]
        tasks[str(Path(file).with_suffix(""))] = (size, task["predictions"][0]["result"])
    return tasks


def region_of(region: dict[str, Any], height: int, width: int) -> np.ndarray:
    from pycocotools import mask as coco

    assert (region["original_height"], region["original_width"]) == (height, width)
    assert region["image_rotation"] == 0
    value = region["value"]
    if region["type"] == "brushlabels":
        assert value["format"] == "rle"
        return brush_region(value["rle"], height, width)[..., 3] > 0
    corners = np.array(value["points"]) * [width / 100, height / 100]
    assert corners.min() >= 0
    return coco.decode(coco.frPyObjects([corners.ravel().tolist()], height, width))[..., 0].astype(bool)


@pytest.mark.parametrize(("shape", "kind"), [("polygon", "PolygonLabels"), ("mask", "BrushLabels")])
def test_label_studio_tasks_hold_the_masks(source: Path, shape: str, kind: str) -> None:
    out, masks, _ = exported(source, "label-studio", shape=shape)
    config = ElementTree.fromstring((out / "label_config.xml").read_text("utf-8"))
    (control,) = config.findall(kind)
    assert [label.get("value") for label in control] == list(CLASSES)
    tasks = label_studio(out)
    assert tasks.keys() == masks.keys()
    for name, ((height, width), regions) in tasks.items():
        assert len({region["id"] for region in regions}) == len(regions)
        drawn = np.zeros((height, width), np.uint8)
        for region in regions:
            assert (region["from_name"], region["to_name"]) == (control.get("name"), control.get("toName"))
            (label,) = region["value"][kind.lower()]
            drawn[region_of(region, height, width)] = CLASSES.index(label) + 1
        np.testing.assert_array_equal(drawn, without_unknown(masks[name]))


def test_datasets_reads_the_folder(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    out, masks, _ = exported(source, "folder")
    datasets.disable_progress_bars()
    read = datasets.load_dataset("imagefolder", data_dir=str(out), cache_dir=str(source / "cache"), split="train")
    assert read.column_names == ["image", "mask"]
    assert len(read) == len(masks)
    for row, name in zip(read, sorted(masks), strict=True):
        np.testing.assert_array_equal(np.array(row["mask"]), masks[name])
        assert row["image"].size == row["mask"].size
    names = json.loads((out / "id2label.json").read_text("utf-8"))
    assert names == {"0": "background", "1": "cat", "2": "große Kuh", "3": 'dog "x"'}


@pytest.mark.parametrize(("tolerance", "minimum"), [(0.0, 1.0), (1.0, 0.93), (3.0, 0.8)])
def test_what_simpler_polygons_lose(source: Path, tolerance: float, minimum: float) -> None:
    rows, columns = np.mgrid[:40, :60]
    round_mask = ((rows - 20) ** 2 / 15**2 + (columns - 30) ** 2 / 25**2 < 1).astype(np.uint8)
    write_mask(source / "masks" / "plain.png", round_mask)
    out, _, _ = exported(source, "coco", tolerance=tolerance)
    (sample,) = read_coco(out / "images", out / "annotations.json").subset(["plain"])
    assert sample.truth is not None
    drawn = sample.truth.read()
    share = ((drawn == 1) & (round_mask == 1)).sum() / ((drawn == 1) | (round_mask == 1)).sum()
    assert share >= minimum
    assert (share == 1) == (tolerance == 0)


def test_options_have_ranges() -> None:
    for options, message in (
        ({"shape": "circle"}, "shape must be 'polygon' or 'mask', got 'circle'"),
        ({"tolerance": -1}, "tolerance must be 0 to 100, got -1"),
        ({"split": "../x"}, "split must be of letters"),
    ):
        with pytest.raises(IgcamError, match=message):
            ExportOptions(**options)  # type: ignore[arg-type]
