from __future__ import annotations

from pathlib import Path

import pytest
from command import Command

from igcam.core.files import read_json
from igcam.data.masks import read_mask_file
from igcam.runs.folder import RunFolder

QUICK = ["segmenter.components=[4,8,8]", "segmenter.width=32", "min_steps=2", "batch_size=8"]


@pytest.fixture
def run(tiny_run: RunFolder, tmp_path: Path) -> Path:
    """The tiny run as if it were elsewhere, so that it can have a segmenter."""
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("run.json", "samples.json", "stages", "masks", "bank"):
        (folder / name).symlink_to(tiny_run.file(name))
    return folder


def test_from_a_run_to_masks_and_onnx(run: Path, scenes: Path, tmp_path: Path, igcam: Command) -> None:
    words = ["distill", "--run", run, "--epochs", 1, *(word for setting in QUICK for word in ("--set", setting))]
    status, output = igcam(*words, "--bank", tmp_path / "bank")
    assert (status, output.splitlines()[-1]) == (0, f"segmenter: {run / 'segmenter'}")
    assert read_json(run / "segmenter" / "distill.json")["options"]["segmenter"]["components"] == [4, 8, 8]

    predict = ["predict", scenes / "photos", "--run", run, "--without", "crf", "--without", "sharpen"]
    status, output = igcam(*predict, "--out", tmp_path / "masks")
    assert status == 0
    assert "segmenter" in output
    assert read_mask_file(tmp_path / "masks" / "scene-00000.png").shape == (64, 64)

    status, output = igcam("export-onnx", "--run", run, "--out", tmp_path / "model.onnx")
    assert status == 0
    assert f"{tmp_path / 'model.onnx'}: differs from torch by " in output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--decoder", "unet"], "decoder must be one of deeplabv3plus, upernet, fpn, segformer, got 'unet'"),
        (["--regime", "warm"], "regime must be one of frozen, finetune, got 'warm'"),
        (["--set", "regimes=x"], "--set regimes=x: there is no option regimes; did you mean regime?"),
        (["--run", "nowhere"], "nowhere: is not a run folder: it has no run.json"),
    ],
)
def test_wrong_words_are_one_line(run: Path, words: list[str], message: str, igcam: Command) -> None:
    status, output = igcam("distill", "--run", run, *words)
    assert (status, output) == (2, message + "\n")
    assert not (run / "segmenter").exists()
