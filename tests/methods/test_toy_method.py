"""A method that no other file knows goes through every command: the seam is whole."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command import Command
from numpy.typing import NDArray
from tiny_runs import SCENES, contents, tiny_dataset, tiny_options
from torch import Tensor, nn

from igcam.commands.fit import fit
from igcam.core.files import read_json
from igcam.core.validation import options
from igcam.data.masks import read_mask_file, tags_in_mask
from igcam.data.sample import Dataset
from igcam.methods.base import AllImages, Artefacts, EachImage, Method, MethodOptions, Refinement, Soft, Stage, Work
from igcam.methods.network import network_stages
from igcam.methods.options import FitOptions
from igcam.methods.registry import register
from igcam.runs.folder import RunFolder

Array = NDArray[np.float32]


@options
class ToyOptions(MethodOptions):
    """One number that decides on the maps, and one on what is drawn of them."""

    background: float = 0.5
    """Score of the background."""
    blur: int = 1
    """Times that masks are smoothed."""


class Prototypes(AllImages):
    """The mean pooled feature of the images with each tag."""

    name = "prototypes"
    title = "Prototypes"
    about = "averages the features of each class"
    reads = ("features/pooled",)
    leaves = ("means",)
    data = ("tags",)

    def run(self, work: Work) -> Mapping[str, object]:
        pooled, tags = work.load_array("features/pooled"), work.tags
        work.leave("prototypes/means", {"means": torch.from_numpy(tags.T @ pooled / tags.sum(axis=0)[:, None])})
        return {"curve": [{"epoch": 1, "loss": 0.5}]}


class Similarity(EachImage):
    """Similarity of each location with the prototypes of the tags."""

    name = "similarity"
    title = "Similarity"
    about = "compares locations with prototypes"
    reads = ("prototypes/means",)
    leaves = ("maps",)
    data = ("tags",)
    scores = "maps"

    def __init__(self, background: float) -> None:
        self.options = {"background": background}
        self.threshold_rule = f"constant {background:g}"

    def open(self, work: Work) -> Callable[[int], Mapping[str, NDArray[Any]]]:
        model, inputs = ToyModel(work.load("prototypes/means", means), self.options["background"]), work.inputs

        def each(index: int) -> Mapping[str, NDArray[Any]]:
            level = torch.from_numpy(inputs.last_level(index))[None]
            return {"maps": model.scores([[level]], [False], work.tags[index][None])[0][0].astype(np.float16)}

        return each


class Smooth(Refinement):
    """Averages soft masks over neighbours."""

    name = "smooth"
    title = "Smoothing"
    about = "averages neighbours"

    def __init__(self, times: int) -> None:
        self.options = {"times": times}

    def refine(self, soft: Soft) -> Array:
        found = soft.probability
        for _ in range(int(self.options["times"])):
            found = (found + np.roll(found, 1, axis=1) + np.roll(found, 1, axis=2)) / 3
        return found


@dataclass(frozen=True)
class ToyModel:
    """Prototypes, float32 (C, D)."""

    means: Tensor
    background: float

    def to(self, device: torch.device) -> ToyModel:
        return ToyModel(self.means.to(device), self.background)

    def scores(
        self, views: Sequence[Sequence[Tensor]], flips: Sequence[bool], tags: NDArray[np.floating] | None
    ) -> tuple[Array, Array]:
        last = views[0][-1].flip(-1) if flips[0] else views[0][-1]
        alike = torch.einsum("cd,ndhw->nchw", nn.functional.normalize(self.means), nn.functional.normalize(last))
        maps = alike.clamp(min=0).numpy()
        if tags is not None:
            maps = maps * np.asarray(tags, np.float32)[:, :, None, None]
        return np.concatenate([np.full_like(maps[:, :1], self.background), maps], axis=1), last.numpy()

    def network(self, backbone: nn.Module) -> None:
        return None


def means(tensors: dict[str, Tensor]) -> Tensor:
    return tensors["means"]


@register
class Toy(Method[ToyOptions]):
    """Prototypes and their similarity."""

    name = "toy"
    paper = "nobody, nowhere, never"
    about = "compares locations with the mean features of classes"
    maps = "similarity/maps"
    options = ToyOptions

    def stages(self, chosen: ToyOptions, run: FitOptions) -> Sequence[Stage]:
        return (*network_stages(run), Prototypes(), Similarity(chosen.background), Smooth(chosen.blur))

    def model(self, artefacts: Artefacts, chosen: ToyOptions, run: FitOptions, classes: int) -> ToyModel:
        return ToyModel(artefacts.load("prototypes/means", means), chosen.background)


def run_until(scenes: str, weights: str, out: str, text: str) -> None:
    """Fit in this process, which kills itself before a file with this text in its path is put in place."""
    replace = os.replace

    def replacing(source: str, target: str) -> None:
        if text in str(target):
            os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)

    os.replace = replacing
    fit(tiny_dataset(Path(scenes)), out, tiny_options(Path(weights), method="toy"), split="scenes")


@pytest.fixture(scope="module")
def toy_run(tiny_data: Dataset, trained: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return fit(tiny_data, tmp_path_factory.mktemp("toy") / "run", tiny_options(trained, method="toy"), split="scenes")


def test_its_stages_leave_masks_metrics_and_a_ledger(toy_run: RunFolder, tiny_data: Dataset) -> None:
    stages = read_json(toy_run.file("metrics.json"))["stages"]
    assert list(stages) == ["similarity", "smooth"]
    assert stages["smooth"]["ledger"]["method"] == "toy"
    assert stages["smooth"]["ledger"]["threshold_rule"] == "constant 0.5"
    assert read_json(toy_run.file("run.json"))["options"]["method"] == {"name": "toy", "background": 0.5, "blur": 1}
    for sample in tiny_data:
        assert set(tags_in_mask(read_mask_file(toy_run.file("masks", f"{sample.name}.png")))) <= set(sample.tags or ())
    different = [
        name
        for name in tiny_data.names
        if toy_run.file("stages", "similarity", "masks", f"{name}.png").read_bytes()
        != toy_run.file("stages", "smooth", "masks", f"{name}.png").read_bytes()
    ]
    assert different, "the refinement has an effect"


@pytest.mark.parametrize(
    "moment", ["features/reduced.npy", "prototypes/stage.json", "similarity/maps.npy", "00009.png"]
)
def test_killed_and_repeated_it_ends_like_an_undisturbed_run(
    moment: str, toy_run: RunFolder, tiny_data: Dataset, scenes: Path, trained: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    process = multiprocessing.get_context("spawn").Process(
        target=run_until, args=(str(scenes), str(trained), str(out), moment)
    )
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    fit(tiny_data, out, tiny_options(trained, method="toy"), split="scenes")
    patterns = ("masks/*", "stages/*/masks/*", "stages/*/*.npy", "stages/*/*.safetensors")
    found = {name: data for name, data in contents(out, *patterns).items() if ".part" not in name}
    assert found == contents(toy_run.path, *patterns)


def test_another_run_reuses_what_has_not_changed(
    toy_run: RunFolder, tiny_data: Dataset, trained: Path, tmp_path: Path
) -> None:
    changed = tiny_options(trained, method=ToyOptions(background=0.4))
    run = fit(tiny_data, tmp_path / "run", changed, earlier=toy_run.path, split="scenes")
    log = run.file("log.txt").read_text()
    assert "features: reused" in log
    assert "prototypes: reused" in log
    assert "similarity: not reused" in log
    assert "other background" in log
    assert contents(run.path, "stages/prototypes/*.safetensors") == contents(
        toy_run.path, "stages/prototypes/*.safetensors"
    )
    assert contents(run.path, "stages/similarity/*.npy") != contents(toy_run.path, "stages/similarity/*.npy")


def test_a_stage_reads_only_what_it_declares(
    toy_run: RunFolder, tiny_data: Dataset, trained: Path, tmp_path: Path
) -> None:
    class Sneaky(Toy):
        name = "sneaky"
        options = options(type("SneakyOptions", (ToyOptions,), {}))

        def stages(self, chosen: ToyOptions, run: FitOptions) -> Sequence[Stage]:
            stage = Similarity(chosen.background)
            stage.reads = ()
            return (*network_stages(run), Prototypes(), stage)

    register(Sneaky)
    with pytest.raises(RuntimeError, match="similarity: reads prototypes/means without declaring it"):
        fit(tiny_data, tmp_path / "run", tiny_options(trained, method="sneaky"), split="scenes")


def test_it_can_guide_igcam(tiny_data: Dataset, trained: Path, tmp_path: Path) -> None:
    options = tiny_options(trained)
    plain = fit(tiny_data, tmp_path / "plain", options, split="scenes")
    guided = replace(options, method=replace(options.chosen, maps=ToyOptions()))
    run = fit(tiny_data, tmp_path / "toy", guided, earlier=plain.path, split="scenes")
    assert list(read_json(run.file("metrics.json"))["stages"])[:3] == ["cam", "similarity", "guide"]
    assert "classify: reused" in run.file("log.txt").read_text()
    assert contents(run.path, "stages/guide/maps.npy") != contents(plain.path, "stages/guide/maps.npy")


def test_every_command_takes_it(
    igcam: Command, toy_run: RunFolder, scenes: Path, trained: Path, tmp_path: Path
) -> None:
    photos, tags = scenes / "photos", scenes / "tags.csv"
    network = ["--backbone", "resnet10t", "--weights", trained, "--size", 64, "--set", "backbone.output_stride=8"]
    words = ["fit", photos, "--tags", tags, "--out", tmp_path / "run", "--method", "toy", *network]
    words += ["--set", "components=[8,8]", "--set", "toy.blur=2", "--classes", ",".join(SCENES.classes)]
    assert igcam(*words)[0] == 0
    run = tmp_path / "run"
    assert read_json(run / "run.json")["options"]["method"]["blur"] == 2
    status, text = igcam(*words, "--set", "toy.blurr=2")
    assert status == 2
    assert "toy.blurr" in text
    for line in (
        ["label", photos, "--tags", tags, "--run", run, "--out", tmp_path / "labelled"],
        ["predict", photos, "--run", run, "--out", tmp_path / "predicted"],
        ["distill", "--run", run, "--epochs", 1, "--set", "min_steps=2", "--set", "segmenter.components=[4,8,8]"],
        ["predict", photos, "--run", run, "--out", tmp_path / "distilled"],
        ["report", run],
        ["export", "--run", run, "--format", "voc", "--out", tmp_path / "export"],
    ):
        status, text = igcam(*line)
        assert status == 0, text
    for folder in ("labelled", "predicted", "distilled"):
        assert len(list((tmp_path / folder).glob("*.png"))) == 16
    page = (run / "report.html").read_text()
    assert "Similarity" in page
    assert "Smoothing" in page
    status, text = igcam("methods")
    assert status == 0
    assert "nobody, nowhere, never" in text
