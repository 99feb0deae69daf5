"""Tests that every method gets for free: subclass, set `method` and `stages`, and name the class Test..."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from tiny_runs import contents, tiny_options

from igcam.commands.fit import fit
from igcam.core.files import read_json
from igcam.core.validation import from_plain, to_plain
from igcam.data.images import image_size
from igcam.data.masks import read_mask_file, tags_in_mask
from igcam.data.sample import Dataset
from igcam.methods.options import FitOptions
from igcam.metrics.results import read_results
from igcam.runs.folder import RunFolder


class MethodSuite:
    """Runs on tiny scenes with the weights that another run has trained."""

    method: ClassVar[str]
    stages: ClassVar[tuple[str, ...]]
    regime: ClassVar[str] = "frozen"
    """Names of the stages after which masks are drawn, in order."""
    changes: ClassVar[dict[str, Any]] = {}
    """Fields of `FitOptions` that are not the defaults."""

    @classmethod
    def options(cls, weights: Path) -> FitOptions:
        return tiny_options(weights, **{"method": cls.method, **cls.changes})

    @pytest.fixture(scope="class")
    @classmethod
    def run(cls, tiny_data: Dataset, trained: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
        return fit(tiny_data, tmp_path_factory.mktemp(cls.method) / "run", cls.options(trained), split="scenes")

    def test_options_make_the_round_trip_through_json(self, trained: Path) -> None:
        options = self.options(trained)
        plain = json.loads(json.dumps(to_plain(options)))
        assert from_plain(FitOptions, plain) == options
        assert from_plain(FitOptions, {"method": self.method}) == FitOptions(method=self.method)

    def test_all_stages_are_done_and_noted(self, run: RunFolder, trained: Path) -> None:
        assert run.options == self.options(trained)
        assert run.options.mask_stages == self.stages
        for stage in (*(stage.name for stage in run.options.stages), "masks"):
            assert run.is_done(stage)
            assert run.facts(stage)["seconds"] >= 0
        assert not list(run.path.rglob("*.part"))

    def test_masks_have_the_size_of_their_photo_and_tagged_classes_only(
        self, run: RunFolder, tiny_data: Dataset
    ) -> None:
        for sample in tiny_data:
            for folder in (run.file("masks"), *(run.file("stages", stage, "masks") for stage in self.stages)):
                mask = read_mask_file(folder / f"{sample.name}.png")
                assert mask.dtype == np.uint8
                assert mask.shape == image_size(sample.image)
                assert set(tags_in_mask(mask)) <= set(sample.tags or ())
        assert contents(run.file("masks"), "*") == contents(run.file("stages", self.stages[-1], "masks"), "*")
        assert len(list(run.file("masks").iterdir())) == len(tiny_data)

    def test_metrics_are_in_range_after_every_stage(self, run: RunFolder, tiny_data: Dataset) -> None:
        metrics = read_json(run.file("metrics.json"))
        assert list(metrics["stages"]) == list(self.stages)
        for stage in self.stages:
            ledger, rows = read_results(run.file("stages", stage, "metrics.json"))
            values = {row.id: row.value for row in rows}
            assert {"miou", "boundary_iou", "pixel_accuracy", "iou/background"} <= set(values)
            assert all(0 <= value <= 100 for value in values.values())
            assert metrics["stages"][stage]["ledger"] == ledger.to_dict() | {"multi_scale": [1.0]}
        scores = read_json(run.file("images.json"))["scores"]
        assert {entry["name"] for entry in scores} == set(tiny_data.names)
        assert all(0 <= entry["miou"] <= 100 for entry in scores)

    def test_the_ledger_tells_what_was_used(self, run: RunFolder, tiny_data: Dataset, trained: Path) -> None:
        seconds = 0.0
        for number, stage in enumerate(self.stages):
            ledger = read_results(run.file("stages", stage, "metrics.json"))[0]
            assert ledger.method == self.method
            assert (ledger.split, ledger.split_size) == ("scenes", len(tiny_data))
            assert ledger.tags_at_inference
            assert not ledger.oracle_threshold
            assert ledger.cues == {}
            assert ledger.annotation_seconds == 20 * len(tiny_data)
            assert ledger.stages == self.stages[: number + 1]
            assert (ledger.crf is not None) == (stage == "crf")
            assert ledger.backbone == "resnet10t"
            assert ledger.weights.startswith(trained.name)
            assert ledger.regime == self.regime
            assert ledger.resolution == "64 x 64"
            assert ledger.threshold_rule not in ("", "none")
            assert ledger.seed == 0
            assert ledger.wall_seconds is not None
            assert ledger.wall_seconds >= seconds
            seconds = ledger.wall_seconds

    def test_the_same_options_give_the_same_masks(
        self, run: RunFolder, tiny_data: Dataset, trained: Path, tmp_path: Path
    ) -> None:
        again = fit(tiny_data, tmp_path / "again", self.options(trained), split="scenes")
        patterns = ("masks/*", "stages/*/maps.npy", "stages/*/*.safetensors")
        assert contents(again.path, *patterns) == contents(run.path, *patterns)
        assert contents(run.path, *patterns)

    def test_a_finished_run_computes_nothing_again(self, run: RunFolder, tiny_data: Dataset, trained: Path) -> None:
        times = {file: file.stat().st_mtime_ns for file in run.path.rglob("*") if file.name != "log.txt"}
        seen: list[str] = []
        fit(tiny_data, run.path, self.options(trained), split="scenes", progress=lambda task, *_: seen.append(task))
        assert seen == []
        assert times == {file: file.stat().st_mtime_ns for file in run.path.rglob("*") if file.name != "log.txt"}
