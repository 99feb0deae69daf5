from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from distillations import OUTCOME, Moment, exit_code, tiny_options
from tiny_runs import COUNT, contents

from igcam.commands.distill import distill
from igcam.commands.predicting.models import SegmenterPredictor
from igcam.core.errors import IgcamError
from igcam.core.files import read_json, read_tensors, write_json
from igcam.data.images import load_image
from igcam.data.sample import Dataset
from igcam.methods.distill import DistillOptions
from igcam.methods.tag_prior import open_image_prior
from igcam.methods.training.devices import open_accelerator
from igcam.models.image_prior import Tagger, fit_tagger
from igcam.models.segmenter import SegmenterOptions
from igcam.models.views import View, to_pixels
from igcam.runs.artefacts import RunArtefacts
from igcam.runs.dataset_file import have_cues, read_dataset_file
from igcam.runs.folder import RunFolder
from igcam.runs.segmenter_file import read_segmenter

MOMENTS: list[Moment] = [
    ("before", "distill.json", 1),
    ("before", "encoder.safetensors", 1),
    ("before", "/bank/", 9),
    ("progress", "train the segmenter, round 1", 1),
    ("before", "checkpoint-0-2.safetensors", 1),
    ("before", "checkpoint.json", 1),
    ("progress", "predict", 5),
    ("progress", "train the segmenter, round 2", 3),
    ("before", "segmenter.json", 1),
]


@pytest.fixture(scope="module")
def folder(tiny_run: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A distillation of two rounds that nothing disturbed."""
    folder = tmp_path_factory.mktemp("distilled")
    return distill(tiny_run, tiny_options(), out=folder / "segmenter", bank=folder / "bank")


def test_the_segmenter_is_whole_and_what_was_needed_on_the_way_is_gone(folder: Path, tiny_run: RunFolder) -> None:
    segmenter, facts = read_segmenter(folder)
    assert facts.classes == tiny_run.classes
    assert (facts.size, facts.flip, facts.tag_prior) == (64, True, 0.5)
    assert not segmenter.training
    assert not list(folder.glob("checkpoint*"))
    assert [entry["epoch"] for entry in read_json(folder / "training.json")["curve"]] == [1, 2, 3, 4]
    predicted = list((folder / "rounds" / "0").glob("*.safetensors"))
    assert len(predicted) == COUNT


def test_the_backbone_is_that_of_the_run(folder: Path, tiny_run: RunFolder) -> None:
    kept = read_tensors(folder / "segmenter.safetensors")
    trained = read_tensors(tiny_run.file("stages", "finetune", "backbone.safetensors"))
    for name, tensor in trained.items():
        assert torch.equal(kept[f"encoder.backbone.network.{name}"], tensor)


@torch.inference_mode()
def test_the_image_prior_is_that_of_the_run(folder: Path, tiny_run: RunFolder, tiny_data: Dataset) -> None:
    segmenter, _ = read_segmenter(folder)
    pixels = View(64).apply(load_image(tiny_data.samples[0].image))
    images = torch.from_numpy(pixels)[None].permute(0, 3, 1, 2).float() / 255
    features = segmenter.encoder.backbone(images)[-1]
    logits = torch.randn(1, len(tiny_run.classes) + 1, 16, 16)
    weights = (tiny_run.options.tag_prior_weight, tiny_run.options.object_prior_weight)
    expected = open_image_prior(RunArtefacts(tiny_run), len(tiny_run.classes), *weights)
    assert segmenter.prior is not None
    assert expected.objects is not None
    torch.testing.assert_close(segmenter.prior(logits, features), expected(logits, features), rtol=1e-3, atol=1e-4)


def test_predictions_are_probabilities_on_any_photo_and_mirrored_with_it(folder: Path, tiny_data: Dataset) -> None:
    predictor = SegmenterPredictor.open(folder, batch_size=2)
    photos = [load_image(sample.image) for sample in tiny_data.samples[:2]] + [np.zeros((40, 90, 3), np.uint8)]
    found = predictor.predict(photos)
    assert len(found) == 3
    for prediction in found:
        assert prediction.scores.dtype == np.float32
        assert prediction.scores.shape == (6, 16, 16)
        np.testing.assert_allclose(prediction.scores.sum(axis=0), 1, rtol=1e-5)
    mirrored = predictor.predict([np.ascontiguousarray(photo[:, ::-1]) for photo in photos])
    for one, other in zip(found, mirrored, strict=True):
        np.testing.assert_allclose(one.scores, other.scores[..., ::-1], rtol=1e-3, atol=1e-4)
        assert one.features is not None
        assert other.features is not None
        np.testing.assert_allclose(one.features, other.features[..., ::-1], rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(predictor.predict(photos[:1])[0].scores, found[0].scores)
    assert predictor.at(1.5).predict(photos[:1])[0].scores.shape == (6, 24, 24)


def test_the_masks_are_fitted(tiny_run: RunFolder, tiny_data: Dataset, tmp_path: Path) -> None:
    options = tiny_options(rounds=1, epochs=40, tag_prior=0.0, foreground_bias=0.0)
    distill(tiny_run, options, out=tmp_path / "out", bank=tmp_path / "bank")
    losses = [entry["loss"] for entry in read_json(tmp_path / "out" / "training.json")["curve"]]
    assert losses[-1] < 0.5 * losses[0]


def test_what_is_done_is_not_done_again(folder: Path, tiny_run: RunFolder) -> None:
    before = {file: file.stat().st_mtime_ns for file in folder.rglob("*") if file.is_file()}
    assert distill(tiny_run, tiny_options(), out=folder) == folder
    assert before == {file: file.stat().st_mtime_ns for file in folder.rglob("*") if file.is_file()}


def test_another_distillation_is_refused(folder: Path, tiny_run: RunFolder) -> None:
    with pytest.raises(IgcamError, match="holds another distillation; choose another --out") as caught:
        distill(tiny_run, tiny_options(epochs=3), out=folder)
    assert "options.epochs: 2 here, 3 asked" in str(caught.value)


def test_a_folder_with_other_files_is_refused(tiny_run: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(IgcamError, match="must be new, empty or of a distillation"):
        distill(tiny_run, tiny_options(), out=tmp_path)


def test_a_run_without_masks_is_refused(tiny_run: RunFolder, tmp_path: Path) -> None:
    copied = tmp_path / "run"
    shutil.copytree(tiny_run.path, copied)
    for name in ("scene-00003", "scene-00007"):
        (copied / "masks" / f"{name}.png").unlink()
    with pytest.raises(IgcamError, match="2 masks are missing") as caught:
        distill(copied, tiny_options())
    assert "scene-00007.png: does not exist" in str(caught.value)
    assert not (copied / "segmenter").exists()
    (copied / "stages" / "masks" / "stage.json").unlink()
    with pytest.raises(IgcamError, match="is not finished"):
        distill(copied, tiny_options())


def test_a_damaged_segmenter_is_one_line(folder: Path, tmp_path: Path) -> None:
    copied = tmp_path / "segmenter"
    shutil.copytree(folder, copied)
    facts = read_json(copied / "segmenter.json")
    write_json(copied / "segmenter.json", {**facts, "classes": [*facts["classes"], "unicorn"]})
    with pytest.raises(IgcamError, match=r"segmenter.safetensors: does not fit segmenter.json") as caught:
        read_segmenter(copied)
    assert "\n" not in str(caught.value)
    write_json(copied / "segmenter.json", {"classes": []})
    with pytest.raises(IgcamError, match="is not of a segmenter: no backbone"):
        read_segmenter(copied)


def test_images_with_cues_keep_their_pseudo_labels(tmp_path: Path) -> None:
    write_json(tmp_path / "samples.json", {"classes": [], "samples": [{"cues": {}}, {"cues": {"mask": 1}}]})
    assert have_cues(tmp_path / "samples.json") == [False, True]
    write_json(tmp_path / "samples.json", {"samples": [{}]})
    with pytest.raises(IgcamError, match="is not a list of samples"):
        have_cues(tmp_path / "samples.json")


def test_the_backbone_is_trained_too(tiny_run: RunFolder, tmp_path: Path) -> None:
    options = tiny_options(regime="finetune", backbone_rate=1.0, segmenter=SegmenterOptions("segformer", width=32))
    folder = distill(tiny_run, options, out=tmp_path / "out", bank=tmp_path / "bank")
    kept = read_tensors(folder / "segmenter.safetensors")
    trained = read_tensors(tiny_run.file("stages", "finetune", "backbone.safetensors"))
    name = "layer4.0.conv1.weight"
    assert not torch.equal(kept[f"encoder.backbone.network.{name}"], trained[name])
    # Statistics stay, and no tagger is asked.
    name = "layer4.0.bn1.running_mean"
    assert torch.equal(kept[f"encoder.backbone.network.{name}"], trained[name])
    assert read_segmenter(folder)[1].tag_prior == 0
    assert not (tmp_path / "bank").exists()


def test_on_request_a_tagger_is_fitted_to_a_trained_backbone(tiny_run: RunFolder, tmp_path: Path) -> None:
    options = tiny_options(regime="finetune", backbone_rate=1.0, rounds=1, tag_prior=0.5)
    folder = distill(tiny_run, options, out=tmp_path / "out", bank=tmp_path / "bank")
    segmenter, facts = read_segmenter(folder)
    assert facts.tag_prior == 0.5
    dataset = read_dataset_file(tiny_run.file("samples.json"))
    pooled = []
    for sample in dataset:
        views = [View(facts.size, flip).apply(load_image(sample.image)) for flip in (False, True)]
        with torch.inference_mode():
            levels = segmenter.encoder.backbone(to_pixels(np.stack(views), torch.device("cpu")))
        pooled.append(levels[-1].numpy().mean(axis=(0, 2, 3)))
    expected = fit_tagger(np.stack(pooled), dataset.tag_matrix(), options.seed)
    assert segmenter.prior is not None
    # What objects of the frozen backbone looked like is of no use to it.
    assert segmenter.prior.objects is None
    found = segmenter.prior.tagger.weight
    torch.testing.assert_close(found, expected.weight, rtol=1e-3, atol=1e-4)
    earlier = RunArtefacts(tiny_run).load("tagger/tagger", Tagger.from_tensors)
    assert not torch.allclose(found, earlier.weight, rtol=1e-2)


@pytest.mark.slow
def test_a_distillation_that_is_killed_again_and_again_ends_like_an_undisturbed_one(
    folder: Path, tiny_run: RunFolder, tmp_path: Path
) -> None:
    out = tmp_path / "segmenter"
    for moment in MOMENTS:
        assert exit_code(tiny_run.path, out, moment, tiny_options()) == -signal.SIGKILL, moment
    assert exit_code(tiny_run.path, out, None, tiny_options()) == 0
    expected = contents(folder, *OUTCOME, "rounds/*/*")
    assert len(expected) == 2 + COUNT
    found = contents(out, *OUTCOME, "rounds/*/*")
    assert {name for name in expected if expected[name] != found.get(name)} == set()
    curves = [read_json(path / "training.json")["curve"] for path in (folder, out)]
    assert curves[0] == curves[1]


@pytest.mark.slow
@pytest.mark.parametrize("regime", ["frozen", "finetune"])
def test_two_processes_train_the_same_as_one(regime: str, tiny_run: RunFolder, tmp_path: Path) -> None:
    settings = {
        "segmenter.components": [4, 8, 8],
        "segmenter.width": 32,
        "segmenter.dropout": 0.0,
        "regime": regime,
        "epochs": 2,
        "min_steps": 0,
        "batch_size": 8,
        "learning_rate": 5e-4,
    }
    words = ["distill", "--run", str(tiny_run.path), "--bank", str(tmp_path / "bank")]
    words += [word for name, value in settings.items() for word in ("--set", f"{name}={json.dumps(value)}")]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    # Processes that share a GPU cannot exchange gradients.
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    together = [
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        "2",
        "--master-port",
        port,
        "-m",
        "igcam.cli.main",
        "--",
    ]
    for name, command in (("one", ["-m", "igcam.cli.main", *words]), ("two", [*together, *words])):
        done = subprocess.run(
            [sys.executable, *command, "--out", str(tmp_path / name)],
            capture_output=True,
            text=True,
            timeout=900,
            env=environment,
        )
        assert done.returncode == 0, done.stderr
        # One of the processes reports.
        assert done.stdout.count("segmenter: ") == 1
    one, two = (read_tensors(tmp_path / name / "segmenter.safetensors") for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name, tensor in one.items():
        # Where a gradient is zero but for rounding, AdamW takes steps of full length all the same.
        torch.testing.assert_close(two[name], tensor, rtol=0, atol=1e-3, msg=name)
    losses = [[entry["loss"] for entry in read_json(tmp_path / n / "training.json")["curve"]] for n in ("one", "two")]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"regime": "magic"}, "regime must be one of frozen, finetune, got 'magic'"),
        ({"size": 5}, "size must be 0 or 32 to 4096, got 5"),
        ({"averaging": 1.0}, "averaging must be 0 to 0.9999, got 1.0"),
        ({"scale": (2.0, 1.0)}, "scale must be 0 < low <= high"),
        ({"rounds": 0}, "rounds must be 1 to 100, got 0"),
    ],
)
def test_wrong_options_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(IgcamError, match=message):
        DistillOptions(**changes)  # type: ignore[arg-type]


def test_processes_that_would_share_a_gpu_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(IgcamError, match="2 processes were started for 1 GPUs: start one for each"):
        open_accelerator()
