"""The methods that train the tail of the network."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from method_suite import MethodSuite
from tiny_runs import tiny_options

from igcam.commands.audit import audit
from igcam.commands.fit import fit
from igcam.commands.label import label
from igcam.commands.predict import predict
from igcam.core.errors import IgcamError
from igcam.core.files import read_json, read_tensors, write_json, write_tensors
from igcam.core.validation import with_setting
from igcam.data.images import load_image
from igcam.data.masks import read_mask_file
from igcam.data.sample import Dataset
from igcam.methods.background import BackgroundOptions
from igcam.methods.cam_tail import CamTailOptions
from igcam.methods.hfpl import HfplOptions
from igcam.methods.network import open_backbone
from igcam.methods.options import FitOptions
from igcam.methods.training.tail import TailOptions
from igcam.metrics.results import read_results
from igcam.models.backbone import BackboneOptions
from igcam.models.views import View, mean_over_views, to_pixels
from igcam.runs.artefacts import RunArtefacts
from igcam.runs.folder import RunFolder

QUICK = TailOptions(epochs=2, batch_size=8)


class TailSuite:
    """What a run of such a method leaves beside."""

    def test_predictions_with_tags_are_the_maps_of_the_run(self, run: RunFolder, tiny_data: Dataset) -> None:
        artefacts, options = RunArtefacts(run), run.options
        model = options.entry.model(artefacts, options.chosen, options, len(run.classes))
        backbone = open_backbone(artefacts, options)
        squares = np.stack([View(64).apply(load_image(sample.image)) for sample in tiny_data.samples[:3]])
        with torch.inference_mode():
            views = [backbone(to_pixels(one, torch.device("cpu"))) for one in (squares, squares[:, :, ::-1].copy())]
        flips = [False, True]
        tags = tiny_data.tag_matrix()[:3]
        scores, deep = model.to(torch.device("cpu")).scores(views, flips, tags)
        np.testing.assert_allclose(scores, artefacts.load_array(options.entry.maps)[:3].astype(np.float32), atol=2e-3)
        assert not scores[:, 1:][tags == 0].any()
        assert scores.max() <= 1
        assert deep.shape == (3, model.reduction.depth, *scores.shape[2:])
        found = model.prior.tagger(mean_over_views([levels[-1] for levels in views], flips).mean(dim=(2, 3))) > 0
        without = model.scores(views, flips, None)[0]
        assert not without[:, 1:][~found.numpy()].any()

    def test_other_options_of_the_background_reuse_the_training(
        self, run: RunFolder, tiny_data: Dataset, tmp_path: Path
    ) -> None:
        options = run.options
        method = replace(options.chosen, background=replace(options.chosen.background, value=0.3))
        again = fit(tiny_data, tmp_path / "run", replace(options, method=method), earlier=run.path, split="scenes")
        log = again.file("log.txt").read_text()
        assert f"{options.entry.name}: reused" in log
        assert f"{options.entry.name}-maps: not reused" in log


class TestCamTail(MethodSuite, TailSuite):
    regime = "tail"
    method = "cam-tail"
    stages = ("cam-tail-maps",)
    changes: ClassVar[dict[str, Any]] = {}

    @classmethod
    def options(cls, weights: Path) -> FitOptions:
        return tiny_options(weights, method=CamTailOptions(QUICK))


class TestHfpl(MethodSuite, TailSuite):
    regime = "tail"
    method = "hfpl"
    stages = ("hfpl-maps",)

    @classmethod
    def options(cls, weights: Path) -> FitOptions:
        return tiny_options(weights, method=HfplOptions(QUICK))


def test_without_heads_igcam_labels_by_the_maps_that_guide(tiny_data: Dataset, trained: Path, tmp_path: Path) -> None:
    options = tiny_options(trained)
    off = ("guide", "reweight", "sharpen", "crf")
    method = replace(options.chosen, maps=CamTailOptions(QUICK, BackgroundOptions(value=0.4)))
    run = fit(tiny_data, tmp_path / "run", replace(options, method=method, without=off), split="scenes")
    label(tiny_data, run, tmp_path / "masks", bank=run.file("bank"))
    for name in tiny_data.names:
        expected = read_mask_file(run.file("masks", f"{name}.png"))
        assert (read_mask_file(tmp_path / "masks" / f"{name}.png") == expected).mean() > 0.99
    ledgers = {stage: read_results(run.file("stages", stage, "metrics.json"))[0] for stage in run.options.mask_stages}
    assert {stage: ledger.regime for stage, ledger in ledgers.items()} == {"cam": "frozen", "cam-tail-maps": "tail"}


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("igcam.maps=igcam", "maps: igcam has no activation maps"),
        ('igcam.maps={"name": "cam", "background": {"value": 0.9}}', "has two different stages of one name: cam"),
    ],
)
def test_maps_that_cannot_guide_are_refused(setting: str, message: str) -> None:
    with pytest.raises(IgcamError, match=message):
        with_setting(FitOptions(), setting)
    assert with_setting(FitOptions(), "igcam.maps=cam").mask_stages == FitOptions().mask_stages


def test_weights_that_are_no_numbers_and_other_classes_are_refused(
    tiny_run: RunFolder, tiny_data: Dataset, tmp_path: Path
) -> None:
    for stage in ("tagger", "reweight"):
        broken = Path(shutil.copytree(tiny_run.path, tmp_path / f"broken-{stage}"))
        (file,) = (broken / "stages" / stage).glob("*.safetensors")
        tensors = read_tensors(file)
        write_tensors(file, {name: tensor * torch.nan for name, tensor in tensors.items()})
        with pytest.raises(IgcamError, match=rf"{file.name}: holds NaN or infinity$"):
            predict(tiny_data, broken, tmp_path / "masks")
    other = Path(shutil.copytree(tiny_run.path, tmp_path / "other"))
    held = read_json(other / "run.json")
    write_json(other / "run.json", held | {"classes": held["classes"][:-1]})
    with pytest.raises(IgcamError, match=r"tagger.safetensors: is of 5 classes, the run of 4$"):
        predict(tiny_data, other, tmp_path / "masks")
    assert not (tmp_path / "masks").exists()


def test_an_audit_needs_a_classifier(tiny_run: RunFolder, tmp_path: Path) -> None:
    run = Path(shutil.copytree(tiny_run.path, tmp_path / "run"))
    (run / "stages" / "classify" / "stage.json").unlink()
    with pytest.raises(IgcamError, match="audit needs the stage classify; a run of igcam lacks it, or"):
        audit(run)


def test_it_guides_igcam(tiny_data: Dataset, trained: Path, tmp_path: Path) -> None:
    options = tiny_options(trained)
    guided = replace(options, method=replace(options.chosen, maps=HfplOptions(QUICK)), without=("reweight", "sharpen"))
    run = fit(tiny_data, tmp_path / "run", guided, split="scenes")
    assert list(read_json(run.file("metrics.json"))["stages"]) == ["cam", "hfpl-maps", "guide", "crf"]


def test_a_network_that_cannot_be_split_is_reported_in_a_line(
    tiny_data: Dataset, trained: Path, tmp_path: Path
) -> None:
    backbone = BackboneOptions("resnet10t", output_stride=8, weights=trained, pretrained=False, levels=(-1,))
    options = replace(tiny_options(trained), backbone=backbone, components=(8,), method=HfplOptions(QUICK))
    with pytest.raises(IgcamError, match=r"^resnet10t: only the tail of a ResNet can be trained[^\n]*$"):
        fit(tiny_data, tmp_path / "run", options)
