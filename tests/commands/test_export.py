from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from killed_exports import exit_code
from PIL import Image
from tiny_runs import contents

from igcam.commands import export as module
from igcam.commands.export import Exported, export, open_masks
from igcam.core.errors import IgcamError
from igcam.core.files import read_json, write_json
from igcam.data import export_item
from igcam.data.export_item import ExportItem, ExportOptions, Record, Writer, export_format, export_formats
from igcam.data.formats.coco import CocoWriter
from igcam.data.images import save_jpeg, save_png
from igcam.data.masks import read_mask_file, write_mask
from igcam.runs.folder import RunFolder

NAMES = ("a", "b/c", "d")
ALL = "**/*"


def photo(path: Path, height: int, width: int, seed: int = 0) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    (save_png if path.suffix == ".png" else save_jpeg)(path, image)


def stripes(path: Path, *ids: int, height: int = 20, width: int = 50) -> None:
    mask = np.zeros((height, width), np.uint8)
    for number, value in enumerate(ids):
        mask[5:-5, 10 * number + 2 : 10 * number + 10] = value
    write_mask(path, mask)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Three photos with masks, and one without."""
    for number, name in enumerate(NAMES):
        photo(tmp_path / "photos" / f"{name}.jpg", 20, 50, seed=number)
        stripes(tmp_path / "masks" / f"{name}.png", 1, 2)
    photo(tmp_path / "photos" / "more.jpg", 9, 9)
    return tmp_path


def run(source: str | Path, format: str = "coco", out: str = "out", **options: object) -> Exported:
    source = Path(source)
    folder, dataset = open_masks(source / "masks", source / "photos", classes=("x", "y"))
    return export(folder, dataset, source / out, format, ExportOptions(**options))  # type: ignore[arg-type]


@pytest.mark.parametrize("format", export_formats())
def test_a_stopped_export_goes_on_to_the_same_files(source: Path, format: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = run(source, format, "whole")
    assert (expected.images, expected.objects) == (3, 6)
    write, calls = module.write_json, []

    def stopping(path: Path, content: object) -> None:
        calls.append(path)
        if len(calls) == stop:
            raise KeyboardInterrupt
        write(path, content)

    for stop in range(1, 6):
        calls.clear()
        monkeypatch.setattr(module, "write_json", stopping)
        with pytest.raises(KeyboardInterrupt):
            run(source, format)
        monkeypatch.setattr(module, "write_json", write)
        # What names all images is there only when all of them are.
        for file in ("annotations.json", "data.yaml", "tasks.json", "metadata.jsonl"):
            assert not (source / "out" / file).exists() or stop == 5
        again = run(source, format)
        assert (again.images, again.objects) == (3, 6)
        assert contents(source / "out", ALL) == contents(source / "whole", ALL)
        shutil.rmtree(source / "out")


@pytest.mark.parametrize("format", ["coco", "yolo"])
def test_an_export_survives_a_kill_before_every_file(source: Path, format: str) -> None:
    run(source, format, "whole")
    expected = contents(source / "whole", ALL)
    kills = 0
    while (code := exit_code(str(source), format, kills + 1)) == -signal.SIGKILL:
        kills += 1
        assert run(source, format) == Exported(source / "out", format, 3, 6, 0)
        assert contents(source / "out", ALL) == expected
        assert not list((source / "out").rglob(".*"))
        shutil.rmtree(source / "out")
    assert code == 0
    # Every file is written once, the marker twice, and a record of each image.
    assert kills == len(expected) + 1 + len(NAMES)


def test_images_that_are_done_are_not_written_again(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finish = CocoWriter.finish
    monkeypatch.setattr(CocoWriter, "finish", lambda self, records: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        run(source)
    monkeypatch.setattr(CocoWriter, "finish", finish)
    monkeypatch.setattr(CocoWriter, "write", None)
    (source / "out" / ".parts" / "a.json").write_text("{")
    with pytest.raises(TypeError):
        run(source)
    monkeypatch.undo()
    run(source)
    assert len(read_json(source / "out" / "annotations.json")["annotations"]) == 6


def test_what_a_kill_leaves_is_no_hindrance_and_goes(source: Path) -> None:
    (source / "out" / ".parts").mkdir(parents=True)
    (source / "out" / ".igcam-export.json.x1y2.part").write_text("{")
    (source / "out" / "images").mkdir()
    with pytest.raises(IgcamError, match="has other files"):
        run(source)
    (source / "out" / "images").rmdir()
    run(source, out="whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_part", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run(source)
    (source / "out" / "images").mkdir()
    (source / "out" / "images" / ".a.jpg.zz.part").write_bytes(b"half")
    run(source)
    assert contents(source / "out", ALL) == contents(source / "whole", ALL)
    assert not [file for file in (source / "out").rglob(".*") if file.suffix == ".part"]


def test_a_finished_export_is_left_alone(source: Path) -> None:
    run(source)
    before = {file: file.stat().st_mtime_ns for file in (source / "out").rglob("*")}
    assert run(source) == Exported(source / "out", "coco", 3, 6, 0)
    assert {file: file.stat().st_mtime_ns for file in (source / "out").rglob("*")} == before


def test_another_export_in_the_same_place_is_refused(source: Path) -> None:
    run(source)
    before = contents(source / "out", ALL)
    with pytest.raises(IgcamError, match=r"out: holds another export \(other format\); choose another --out"):
        run(source, "yolo")
    with pytest.raises(IgcamError, match=r"other options"):
        run(source, tolerance=1.0)
    stripes(source / "masks" / "d.png", 2)
    with pytest.raises(IgcamError, match=r"other masks, photos or cues"):
        run(source)
    assert contents(source / "out", ALL) == before


def test_other_files_are_not_touched(source: Path) -> None:
    (source / "out").mkdir()
    (source / "out" / "thesis.txt").write_text("mine")
    with pytest.raises(IgcamError, match="out: must be new, empty or the same export, but has other files"):
        run(source)
    assert contents(source / "out", ALL) == {"thesis.txt": b"mine"}
    for position in ("masks", "masks/out", "photos/out"):
        with pytest.raises(IgcamError, match="must not lie in"):
            run(source, out=position)


def test_all_that_is_wrong_is_named_before_anything_is_written(source: Path) -> None:
    stripes(source / "masks" / "b" / "c.png", 1, 3)
    (source / "masks" / "d.png").write_bytes(b"no mask")
    stripes(source / "masks" / "e.png", 1)
    with pytest.raises(IgcamError, match=r"e\.png: has no photo of this name"):
        run(source)
    photo(source / "photos" / "e.jpg", 50, 20)
    (source / "photos" / "a.jpg").write_bytes(b"no photo")
    with pytest.raises(IgcamError) as caught:
        run(source)
    lines = str(caught.value).splitlines()
    assert lines[0].endswith("masks: 4 masks cannot be exported:")
    for line, words in zip(
        lines[1:],
        (
            "a.jpg: is not an image",
            "c.png: has ids 3; allowed are",
            "d.png: is not a mask",
            "is 50 x 20 pixels, its photo 20 x 50",
        ),
        strict=True,
    ):
        assert words in line
    assert not (source / "out").exists()


def test_a_mask_of_the_stored_orientation_is_refused(source: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (50, 20)).save(source / "photos" / "d.jpg", exif=exif)
    with pytest.raises(IgcamError, match=r"d\.png: is 50 x 20 pixels, its photo 20 x 50"):
        run(source)


def test_photos_of_one_name_are_refused(source: Path) -> None:
    photo(source / "photos" / "a.png", 20, 50)
    with pytest.raises(IgcamError, match="has the same name as"):
        run(source)


def test_names_that_yolo_cannot_tell_apart_are_refused(source: Path) -> None:
    photo(source / "photos" / "b__c.jpg", 20, 50)
    stripes(source / "masks" / "b__c.png", 1)
    with pytest.raises(IgcamError, match="2 masks cannot be exported") as caught:
        run(source, "yolo")
    assert "would be called b__c, as another one" in str(caught.value)
    assert run(source, "coco").images == 4


@pytest.mark.parametrize("format", export_formats())
def test_objects_that_are_too_small_are_left_out(source: Path, format: str) -> None:
    mask = read_mask_file(source / "masks" / "a.png")
    mask[0, 0] = mask[2, 40:42] = 1
    write_mask(source / "masks" / "a.png", mask)
    every, large = run(source, format, "every"), run(source, format, "large", min_area=3)
    assert (every.objects, large.objects) == (8, 6)
    if format == "voc":
        root = source / "large" / "VOCdevkit" / "VOC2012"
        classes, objects = (read_mask_file(root / f"Segmentation{kind}" / "a.png") for kind in ("Class", "Object"))
        np.testing.assert_array_equal(classes, mask)
        assert set(objects[[0, 2, 2], [0, 40, 41]]) == {255}
        assert set(np.unique(objects[3:])) == {0, 1, 2}


def test_links_share_the_photo(source: Path) -> None:
    run(source, "folder", link=True)
    assert os.path.samefile(source / "photos" / "a.jpg", source / "out" / "images" / "a.jpg")
    run(source, "folder", "copies")
    assert not os.path.samefile(source / "photos" / "a.jpg", source / "copies" / "images" / "a.jpg")


def test_a_full_disk_is_one_line(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("igcam.core.files.shutil.copy2", full)
    with pytest.raises(IgcamError, match=r"\.jpg: cannot be written: No space left on device"):
        run(source)
    monkeypatch.undo()
    assert not list((source / "out").rglob("*.part"))
    assert run(source).images == 3


def test_over_254_objects_fit_in_a_mask_of_objects(source: Path) -> None:
    pixels = np.zeros((20, 50), np.uint8)
    pixels[::2, ::2] = 1
    pixels[0, :3] = 1
    write_mask(source / "masks" / "a.png", pixels)
    assert run(source, "voc").objects == 249 + 4
    pixels[1::2, 1::2] = 2
    write_mask(source / "masks" / "a.png", pixels)
    run(source, "voc", "more")
    numbers = read_mask_file(source / "more" / "VOCdevkit" / "VOC2012" / "SegmentationObject" / "a.png")
    assert ((numbers > 0) == (pixels > 0)).all()
    assert len(np.unique(numbers)) == 256


def test_cues_say_what_is_an_object(source: Path) -> None:
    lines = ['{"image": "a", "class": "x", "kind": "box", "box": [0, 0, 7, 20]}']
    lines += ['{"image": "a", "class": "x", "kind": "box", "box": [7, 0, 50, 20]}']
    (source / "cues.jsonl").write_text("\n".join(lines))
    folder, dataset = open_masks(source / "masks", source / "photos", classes=("x", "y"), cues=source / "cues.jsonl")
    assert export(folder, dataset, source / "out", "coco").objects == 7


def test_classes_get_names_by_their_ids(source: Path) -> None:
    assert open_masks(source / "masks", source / "photos")[1].classes == ("class 1", "class 2")


def test_a_run_knows_everything(tiny_run: RunFolder, tmp_path: Path) -> None:
    folder, dataset = open_masks(None, run=tiny_run.path)
    result = export(folder, dataset, tmp_path / "out", "yolo")
    assert result.images == 16
    assert '\n  2: "owl"\n' in (tmp_path / "out" / "data.yaml").read_text()
    with pytest.raises(IgcamError, match="export: give MASKS and --images, or --run"):
        open_masks(folder)


def test_the_marker_is_no_trap(source: Path) -> None:
    run(source)
    write_json(source / "out" / "igcam-export.json", [])
    with pytest.raises(IgcamError, match="holds another export"):
        run(source)
    (source / "out" / "igcam-export.json").write_text("{")
    with pytest.raises(IgcamError, match="is not JSON"):
        run(source)


def test_a_new_format_needs_no_other_file(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_item, "_WRITERS", dict(export_formats()))

    @export_format("areas")
    class AreaWriter(Writer):
        def write(self, item: ExportItem) -> Record:
            return {item.name: [found.area for found in item.objects]}

        def finish(self, records: Iterable[Record]) -> None:
            write_json(self.out / "areas.json", list(records))

    assert run(source, "areas") == Exported(source / "out", "areas", 3, 6, 0)
    assert read_json(source / "out" / "areas.json") == [{name: [80, 80]} for name in NAMES]
    with pytest.raises(IgcamError, match="one of areas, coco, folder, label-studio, voc, yolo, got tables"):
        run(source, "tables")
