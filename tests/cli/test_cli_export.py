from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from command import Command

from igcam.data.images import save_png
from igcam.data.masks import write_mask


@pytest.fixture
def words(tmp_path: Path) -> list[object]:
    """Return a command without its format; two photos with masks are there."""
    for name in ("a", "b"):
        save_png(tmp_path / "photos" / f"{name}.png", np.zeros((8, 12, 3), np.uint8))
        write_mask(tmp_path / "masks" / f"{name}.png", np.eye(8, 12, dtype=np.uint8))
    more = ["--images", tmp_path / "photos", "--classes", "x,y", "--out", tmp_path / "out"]
    return ["export", tmp_path / "masks", *more]


def test_masks_are_exported(igcam: Command, words: list[object], tmp_path: Path) -> None:
    status, output = igcam(*words, "--format", "yolo")
    assert (status, output.splitlines()[-1]) == (0, f"2 images with 2 objects in {tmp_path / 'out'}")
    status, output = igcam(*words, "--format", "coco")
    message = f"{tmp_path / 'out'}: holds another export (other format); choose another --out"
    assert (status, output.strip()) == (2, message)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--format", "png"], "--format must be one of coco, folder, label-studio, voc, yolo, got png"),
        (["--format", "coco", "--simplify", "-1"], "tolerance must be 0 to 100, got -1.0"),
        (["--format", "coco", "--shape", "circle"], "shape must be 'polygon' or 'mask', got 'circle'"),
        (["--format", "coco", "--images", "nowhere"], "nowhere: does not exist"),
        (["--format", "coco", "--cues", "nowhere.jsonl"], "nowhere.jsonl: cannot be read: No such file or directory"),
        (["--format", "coco", "--run", "nowhere"], "nowhere: is not a run folder: it has no run.json"),
    ],
)
def test_wrong_options_are_one_line(
    igcam: Command,
    words: list[object],
    tmp_path: Path,
    more: list[str],
    message: str,
) -> None:
    assert igcam(*words, *more) == (2, message + "\n")
    assert not (tmp_path / "out").exists()
