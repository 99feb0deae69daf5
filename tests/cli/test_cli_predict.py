from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from command import Command
from tiny_runs import contents

from igcam.data.images import load_image
from igcam.runs.folder import RunFolder


@pytest.fixture
def folder(scenes: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(scenes, tmp_path / "copy"))


def test_a_bad_photo_is_told_after_all_masks_are_there(
    igcam: Command,
    tiny_run: RunFolder,
    folder: Path,
) -> None:
    (folder / "photos" / "deep").mkdir()
    shutil.move(folder / "photos" / "scene-00001.jpg", folder / "photos" / "deep" / "a.jpg")
    (folder / "photos" / "scene-00003.jpg").write_bytes(b"no photo")
    words: list[object] = ["predict", folder / "photos", "--run", tiny_run.path, "--out", folder / "out"]
    more = ["--confidence", folder / "sure", "--overlays", folder / "seen", "--without", "crf", "--scale", 1]
    status, output = igcam(*words, *more, "--scale", 0.75, "--no-flip", "--tile", 50)
    assert status == 1
    lines = [line for line in output.splitlines() if line]
    assert lines[0] == f"15 masks in {folder / 'out'}, by the run's head"
    assert lines[1] == "1 photos cannot be read:"
    assert lines[2].endswith("scene-00003.jpg: is not an image that can be read")
    assert len(lines) == 3
    names = {name.removesuffix(".png") for name in contents(folder / "out", "**/*")}
    assert "deep/a" in names
    assert len(names) == 15
    assert {name.removesuffix(".png") for name in contents(folder / "sure", "**/*")} == names
    assert {name.removesuffix(".jpg") for name in contents(folder / "seen", "**/*")} == names
    assert load_image(folder / "seen" / "deep" / "a.jpg").shape == (64, 64, 3)

    before = contents(folder / "out", "**/*")
    (folder / "photos" / "scene-00003.jpg").unlink()
    status, output = igcam(*words)
    told = f"15 masks in {folder / 'out'}, 15 of them from an earlier call, the others by the run's head\n"
    assert (status, output) == (0, told)
    assert contents(folder / "out", "**/*") == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--without", "guide"], "--without must be sharpen or crf, got guide"),
        (["--model", "magic"], "model must be one of head, segmenter, got 'magic'"),
        (["--shard", "4/3"], "shard must be i/n with 1 <= i <= n, got 4/3"),
        (["--tile", "5"], "tile must be 0 or 32 to 16384, got 5"),
        (["--run", "nowhere"], "nowhere: is not a run folder: it has no run.json"),
    ],
)
def test_wrong_options_are_one_line(
    igcam: Command,
    scenes: Path,
    tiny_run: RunFolder,
    tmp_path: Path,
    words: list[str],
    message: str,
) -> None:
    command = ["predict", scenes / "photos", "--run", tiny_run.path, "--out", tmp_path / "out", *words]
    assert igcam(*command) == (2, message + "\n")
    assert not (tmp_path / "out").exists()
