from __future__ import annotations

import json
import runpy
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from distillations import tiny_options
from numpy.typing import NDArray

from igcam.commands.distill import distill
from igcam.commands.onnx_export import AtImageSize, export_onnx
from igcam.commands.predicting.models import HeadPredictor, SegmenterPredictor
from igcam.core.errors import IgcamError
from igcam.data.images import load_image
from igcam.data.masks import read_mask_file
from igcam.data.sample import Dataset
from igcam.models.segmenter import SegmenterOptions
from igcam.models.views import View
from igcam.runs.folder import RunFolder

ROOT = Path(__file__).parents[2]
SHAPES = [(1, 64, 64), (3, 64, 96), (1, 50, 75), (2, 33, 47)]


def logits_of(file: Path, images: NDArray[np.float32]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    found: NDArray[np.float32] = session.run(["logits"], {"images": images})[0]
    return found


@pytest.fixture(scope="module")
def copied(tiny_run: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """The tiny run as if it were elsewhere, so that it can have a segmenter."""
    folder = tmp_path_factory.mktemp("onnx") / "run"
    folder.mkdir()
    for name in ("run.json", "samples.json", "stages", "masks"):
        (folder / name).symlink_to(tiny_run.file(name))
    run = RunFolder(folder)
    distill(run, tiny_options(rounds=1))
    return run


@pytest.fixture(scope="module")
def file(copied: RunFolder) -> Path:
    path = copied.path / "segmenter.onnx"
    assert export_onnx(copied, path) < 1e-4
    return path


@pytest.mark.parametrize("shape", SHAPES)
def test_the_file_computes_what_torch_does_at_every_size(
    copied: RunFolder, file: Path, shape: tuple[int, int, int]
) -> None:
    segmenter = SegmenterPredictor.open(copied.file("segmenter")).segmenter
    images = torch.rand(shape[0], 3, *shape[1:], generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = AtImageSize(segmenter)(images).numpy()
    found = logits_of(file, images.numpy())
    assert found.shape == (shape[0], 6, *shape[1:])
    np.testing.assert_allclose(found, expected, rtol=0, atol=max(1e-4, 1e-5 * np.abs(expected).max()))


def test_the_head_computes_what_predict_does(copied: RunFolder, tiny_data: Dataset, tmp_path: Path) -> None:
    export_onnx(copied, tmp_path / "head.onnx", "head")
    image = load_image(tiny_data.samples[0].image)
    expected = HeadPredictor.open(copied, batch_size=1, flip=False).predict([image])[0].scores
    pixels = View(64).apply(image).transpose(2, 0, 1)[None].astype(np.float32) / 255
    logits = torch.from_numpy(logits_of(tmp_path / "head.onnx", pixels))
    # On its own grid of stride 8 the head is asked through the mean of each cell.
    coarse = F.softmax(logits, dim=1)[0].numpy()
    assert expected.shape == (6, 8, 8)
    agree = coarse.reshape(6, 8, 8, 8, 8).mean(axis=(2, 4)).argmax(axis=0) == expected.argmax(axis=0)
    assert agree.mean() > 0.9


def test_the_example_draws_a_mask_without_torch(file: Path, tiny_data: Dataset, tmp_path: Path) -> None:
    example = ROOT / "examples" / "onnx_predict.py"
    assert "torch" not in example.read_text("utf-8").split('"""')[2]
    photo = tiny_data.samples[0].image
    runpy.run_path(str(example))["main"](str(file), str(photo), str(tmp_path / "mask.png"))
    drawn = read_mask_file(tmp_path / "mask.png")
    assert drawn.shape == load_image(photo).shape[:2]
    images = load_image(photo).transpose(2, 0, 1)[None].astype(np.float32) / 255
    assert (drawn == logits_of(file, images)[0].argmax(axis=0)).mean() > 0.99


def test_the_file_says_what_it_is(copied: RunFolder, file: Path) -> None:
    facts = onnxruntime.InferenceSession(file).get_modelmeta().custom_metadata_map
    assert json.loads(facts["classes"]) == list(copied.classes)
    assert (facts["size"], facts["multiple"]) == ("64", "1")


@pytest.mark.slow
@pytest.mark.parametrize("decoder", ["upernet", "fpn", "segformer"])
def test_every_decoder_can_be_exported(tiny_run: RunFolder, decoder: str, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("run.json", "samples.json", "stages", "masks"):
        (folder / name).symlink_to(tiny_run.file(name))
    distill(folder, tiny_options(rounds=1, epochs=1, segmenter=SegmenterOptions(decoder, width=32)))
    assert export_onnx(folder, tmp_path / "segmenter.onnx") < 1e-4
    segmenter = SegmenterPredictor.open(folder / "segmenter").segmenter
    images = torch.rand(1, 3, 50, 75, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = AtImageSize(segmenter)(images).numpy()
    np.testing.assert_allclose(logits_of(tmp_path / "segmenter.onnx", images.numpy()), expected, rtol=0, atol=1e-4)


@pytest.mark.slow
def test_a_network_that_answers_otherwise_at_odd_sizes_is_not_written(
    copied: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Rounded(AtImageSize):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            # A negative number is rounded otherwise in ONNX.
            return super().forward(images) + -(-images.shape[2] // 2)

    monkeypatch.setattr("igcam.commands.onnx_export.AtImageSize", Rounded)
    with pytest.raises(IgcamError, match="is not written: its logits would differ from torch's by"):
        export_onnx(copied, tmp_path / "a.onnx", "head")
    assert not (tmp_path / "a.onnx").exists()


def test_what_is_missing_is_named(
    tiny_run: RunFolder, copied: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(IgcamError, match=r"segmenter.json: cannot be read"):
        export_onnx(tiny_run, tmp_path / "a.onnx", "segmenter")
    with pytest.raises(IgcamError, match="model must be one of head, segmenter, got tail"):
        export_onnx(copied, tmp_path / "a.onnx", "tail")
    monkeypatch.setattr("igcam.commands.onnx_export._NEEDED", ("onnx", "no_such_module"))
    with pytest.raises(IgcamError, match=r"needs no_such_module: install igcam\[onnx\]"):
        export_onnx(copied, tmp_path / "a.onnx")
    assert not list(tmp_path.iterdir())
