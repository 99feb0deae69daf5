from __future__ import annotations

import json
import shutil
from pathlib import Path

import jsonschema
import pytest
from command import Command

from igcam.core.files import read_json
from igcam.data.masks import read_mask_file
from igcam.metrics.results import read_results
from igcam.runs.folder import RunFolder

CLASSES = "fox,frog,owl,panda,pig"


@pytest.fixture
def folder(scenes: Path, tmp_path: Path) -> Path:
    """A copy of the scenes that may be spoilt."""
    return Path(shutil.copytree(scenes, tmp_path / "copy"))


def spoil(folder: Path) -> None:
    """Break a JPEG, take a photo away, and misspell a class."""
    photos = folder / "photos"
    whole = (photos / "scene-00002.jpg").read_bytes()
    (photos / "scene-00002.jpg").write_bytes(whole[: len(whole) // 2])
    (photos / "scene-00004.jpg").unlink()
    rows = (folder / "tags.csv").read_text().splitlines()
    rows[1] = "scene-00000.jpg,foxx"
    (folder / "tags.csv").write_text("\n".join(rows) + "\n")


def quick(trained: Path, out: Path) -> list[object]:
    """Return the options of a quick run."""
    options: list[object] = ["--out", out, "--classes", CLASSES, "--backbone", "resnet10t", "--weights", trained]
    settings = [
        "backbone.output_stride=8",
        "components=[8,8]",
        "igcam.guide.learn.head.hidden=8",
        "igcam.guide.learn.head.epochs=1",
        "igcam.guide.learn.head.min_steps=2",
        "igcam.guide.learn.pseudo_labels.size=0",
    ]
    return [*options, "--size", 64, *(word for setting in settings for word in ("--set", setting))]


def test_a_good_folder_passes_the_check(igcam: Command, scenes: Path) -> None:
    status, output = igcam("check", scenes / "photos", "--tags", scenes / "tags.csv", "--truth", scenes / "masks")
    assert status == 0
    assert output.splitlines()[-1].startswith("0 errors, ")


@pytest.mark.parametrize("command", ["check", "fit"])
def test_all_that_is_wrong_is_named_at_once(igcam: Command, folder: Path, command: str) -> None:
    spoil(folder)
    words: list[object] = [command, folder / "photos", "--tags", folder / "tags.csv", "--classes", CLASSES]
    out = folder / "run"
    status, output = igcam(*words, *(["--out", out] if command == "fit" else []))
    assert status == (1 if command == "check" else 2)
    assert "scene-00002.jpg: " in output
    assert "no photo 'scene-00004.jpg'" in output
    assert "'foxx' is not one of the classes; did you mean 'fox'?" in output
    lines = [line for line in output.splitlines() if "warning" not in line]
    # Three findings; fit writes a headline above them, check a count with the word warnings below.
    assert len(lines) == (3 if command == "check" else 4)
    assert not out.exists()


def test_a_broken_mask_stops_a_fit_too(igcam: Command, folder: Path) -> None:
    (folder / "masks" / "scene-00003.png").write_bytes(b"no mask")
    status, output = igcam(
        "fit", folder / "photos", "--tags", folder / "tags.csv", "--truth", folder / "masks", "--out", folder / "run"
    )
    assert status == 2
    assert len(output.splitlines()) == 1
    assert "scene-00003.png: is not a mask that can be read" in output


@pytest.mark.parametrize("command", ["check", "fit", "label", "refine", "evaluate", "report"])
def test_a_missing_folder_is_one_line(
    igcam: Command, command: str, tiny_run: RunFolder, scenes: Path, tmp_path: Path
) -> None:
    more: dict[str, list[object]] = {
        "fit": ["--tags", scenes / "tags.csv", "--out", tmp_path / "run"],
        "label": ["--run", tiny_run.path, "--out", tmp_path / "masks"],
        "refine": ["--images", scenes / "photos", "--out", tmp_path / "masks"],
        "evaluate": ["--truth", tmp_path / "nowhere"],
    }
    status, output = igcam(command, tmp_path / "nowhere", *more.get(command, []))
    assert status == (1 if command == "check" else 2)
    assert "nowhere" in output.splitlines()[0]
    assert len(output.splitlines()) == (2 if command == "check" else 1)


def test_a_missing_file_of_weights_is_one_line(igcam: Command, scenes: Path, tmp_path: Path, trained: Path) -> None:
    words = ["fit", scenes / "photos", "--tags", scenes / "tags.csv"]
    status, output = igcam(*words, *quick(tmp_path / "nowhere.safetensors", tmp_path / "run"))
    assert status == 2
    lines = [line for line in output.splitlines() if "warnings" not in line]
    assert len(lines) == 1
    assert "nowhere.safetensors: cannot be read: No such file" in lines[0]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set", "size=big"], "size must be a whole number, got 'big'"),
        (["--set", "sizes=1"], "there is no option sizes"),
        (["--method", "magic"], "method must be one of cam, "),
        (["--without", "classify"], "without must be one of guide, reweight, sharpen, crf, got classify"),
        (["--size", "5"], "size must be 32 to 4096, got 5"),
        (["--seed", "-1"], "seed must be 0 to 4294967295, got -1"),
        (["--backbone", "resnet5000"], "resnet5000: timm has no network of this name"),
        (["--tags", "nowhere.csv"], "nowhere.csv: "),
        (["--cues", "nowhere.jsonl"], "nowhere.jsonl: cannot be read"),
        (["--truth", "nowhere"], "nowhere: is not a folder"),
        (["--classes", "fox,fox"], "'fox' is named twice"),
    ],
)
def test_wrong_options_are_one_line(
    igcam: Command, scenes: Path, tmp_path: Path, words: list[str], message: str
) -> None:
    status, output = igcam("fit", scenes / "photos", "--tags", scenes / "tags.csv", "--out", tmp_path / "run", *words)
    lines = [line for line in output.splitlines() if not line.endswith("lists them")]
    assert status == 2
    assert message in lines[0]
    if words[0] != "--classes":
        assert len(lines) == 1


def test_from_photos_to_scores(igcam: Command, scenes: Path, trained: Path, tmp_path: Path) -> None:
    run, masks = tmp_path / "run", tmp_path / "masks"
    without = [word for stage in ("reweight", "sharpen", "crf") for word in ("--without", stage)]
    fit = ["fit", scenes / "photos", "--tags", scenes / "tags.csv", "--truth", scenes / "masks", *without]
    status, output = igcam(*fit, *quick(trained, run))
    assert status == 0
    for word in ("cam", "guide", "mIoU", "Boundary IoU", "16 images of photos, tags known"):
        assert word in output
    assert "reweight" not in output
    assert str(run / "masks") in output.replace("\n", "")
    assert read_json(run / "run.json")["options"]["method"]["guide"]["learn"]["head"]["hidden"] == 8

    status, output = igcam(*fit, *quick(trained, run))
    assert status == 0
    status, output = igcam(*fit, *quick(trained, run), "--set", "igcam.guide.learn.head.hidden=9")
    assert status == 2
    assert "options.method.guide.learn.head.hidden: 8 here, 9 asked" in output
    assert len([line for line in output.splitlines() if "warnings" not in line]) == 2

    status, output = igcam("label", scenes / "photos", "--run", run, "--out", masks)
    assert status == 0
    assert f"16 masks in {masks}" in output.replace("\n", "")
    assert read_mask_file(masks / "scene-00000.png").shape == (64, 64)
    status, _ = igcam(
        "label", scenes / "photos", "--run", run, "--out", tmp_path / "tags", "--tags", scenes / "tags.csv"
    )
    assert status == 0

    evaluate = ["evaluate", masks, "--truth", scenes / "masks", "--classes", CLASSES]
    status, output = igcam(*evaluate, "--output", tmp_path / "scores.json")
    assert status == 0
    assert "16 images" in output
    ledger, rows = read_results(tmp_path / "scores.json")
    assert ledger.split_size == 16
    assert {"miou", "boundary_iou", "iou/background"} <= {row.id for row in rows}

    for name in ("scene-00001", "scene-00007"):
        (masks / f"{name}.png").unlink()
    status, output = igcam(*evaluate)
    assert status == 2
    assert "2 of 16 masks are missing" in output.splitlines()[0]
    assert len(output.splitlines()) == 3

    status, output = igcam("report", run, "--output", tmp_path / "report.html")
    assert status == 0
    assert "<html" in (tmp_path / "report.html").read_text(encoding="utf-8")[:200]


def test_broken_photos_are_listed_after_the_others_are_labelled(
    igcam: Command, tiny_run: RunFolder, folder: Path
) -> None:
    for name in ("scene-00003.jpg", "scene-00005.jpg"):
        (folder / "photos" / name).write_bytes(b"no photo")
    status, output = igcam("label", folder / "photos", "--run", tiny_run.path, "--out", folder / "out")
    assert status == 1
    assert "2 photos cannot be read:" in output
    assert "scene-00003.jpg" in output
    assert "scene-00005.jpg" in output
    assert len(list((folder / "out").iterdir())) == 14


def test_masks_are_refined(igcam: Command, scenes: Path, tmp_path: Path) -> None:
    words = ["refine", scenes / "masks", "--images", scenes / "photos", "--out", tmp_path / "out"]
    status, output = igcam(*words, "--crf", "deeplab", "--crf-side", "500", "--without", "sharpen")
    assert status == 0
    assert output.splitlines()[-1].startswith("16 masks in ")
    assert len(list((tmp_path / "out").glob("*.png"))) == 16


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--crf", "magic"], "--crf must be one of irn, seam, deeplab, toco, afa, weaktr, hfpl, got magic"),
        (["--without", "guide"], "--without must be sharpen or crf, each once, got guide"),
        (["--without", "crf", "--without", "sharpen"], "--without: leaves nothing to do"),
    ],
)
def test_wrong_options_of_refine_are_one_line(
    igcam: Command, scenes: Path, tmp_path: Path, words: list[str], message: str
) -> None:
    status, output = igcam("refine", scenes / "masks", "--images", scenes / "photos", "--out", tmp_path / "o", *words)
    assert (status, output) == (2, message + "\n")


def test_cues_take_part(igcam: Command, scenes: Path, trained: Path, tmp_path: Path) -> None:
    masks = scenes / "masks"
    rows = [f'{{"image": "scene-0000{n}.jpg", "kind": "mask", "file": "{masks}/scene-0000{n}.png"}}' for n in range(4)]
    (tmp_path / "cues.jsonl").write_text("\n".join(rows))
    without = [word for stage in ("reweight", "sharpen", "crf") for word in ("--without", stage)]
    words = ["fit", scenes / "photos", "--tags", scenes / "tags.csv", "--truth", masks, *without]
    run = tmp_path / "run"
    status, output = igcam(*words, "--cues", tmp_path / "cues.jsonl", *quick(trained, run))
    assert status == 0, output
    assert read_results(run / "stages" / "guide" / "metrics.json")[0].cues == {"mask": 4}


def test_the_schema_of_the_options_fits_those_of_a_run(igcam: Command, tiny_run: RunFolder) -> None:
    status, output = igcam("methods", "--schema")
    assert status == 0
    check = jsonschema.Draft202012Validator(json.loads(output)).is_valid
    options = read_json(tiny_run.file("run.json"))["options"]
    assert check(options)
    assert not check(options | {"sizes": 64})
    assert not check(options | {"method": "no-method"})


def test_help_names_the_commands(igcam: Command) -> None:
    status, output = igcam("--help")
    assert status == 0
    for command in ("check", "fit", "label", "refine", "evaluate", "report", "demo"):
        assert command in output
