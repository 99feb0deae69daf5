from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_runs import contents, tiny_options

from igcam.commands.fit import fit
from igcam.core.errors import IgcamError
from igcam.core.files import read_json, write_json
from igcam.core.validation import with_setting
from igcam.data.cue import MaskCue, PointCue
from igcam.data.sample import Dataset
from igcam.methods.options import FitOptions
from igcam.runs.folder import RunFolder

STAGES = ("features", "classify", "cam", "tagger", "guide", "reweight", "objects")
ARRAYS = ("stages/*/*.npy", "stages/*/*.safetensors", "masks/*")


@pytest.fixture(scope="module")
def options(trained: Path) -> FitOptions:
    return with_setting(
        tiny_options(trained).leave_out(["sharpen", "crf"]), 'igcam.guide.objectness.proposals=["colour-segments"]'
    )


@pytest.fixture(scope="module")
def first(tiny_data: Dataset, options: FitOptions, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return fit(tiny_data, tmp_path_factory.mktemp("first") / "run", options)


def reused(run: RunFolder) -> tuple[str, ...]:
    """Return the stages that the log says were reused."""
    lines = run.file("log.txt").read_text().splitlines()
    return tuple(stage for stage in STAGES if any(f" {stage}: reused from " in line for line in lines))


def with_marks(dataset: Dataset) -> Dataset:
    return dataset.with_cues({dataset.names[0]: [PointCue(label=dataset.samples[0].tags[0] + 1, x=30, y=30)]})


def other_tags(dataset: Dataset) -> Dataset:
    head, *rest = dataset.samples
    return Dataset(dataset.classes, (replace(head, tags=tuple({*(head.tags or ()), 0, 1})), *rest))


CASES: dict[str, tuple[Callable[[Dataset], Dataset], tuple[str, ...], tuple[str, ...]]] = {
    "nothing changed": (lambda dataset: dataset, (), STAGES),
    "other drawing": (lambda dataset: dataset, ("crf=irn",), STAGES),
    "weights of influence": (lambda dataset: dataset, ("igcam.reweight.images=false",), STAGES[:5]),
    "noisy tags": (lambda dataset: dataset, ("igcam.noisy_tags.weight=1",), STAGES[:3]),
    "cues": (with_marks, (), STAGES[:4]),
    "no influence": (lambda dataset: dataset, ('without=["reweight", "sharpen", "crf"]',), STAGES[:5]),
    "no guidance": (lambda dataset: dataset, ('without=["guide", "sharpen", "crf"]',), STAGES[:4]),
    "proposals": (lambda dataset: dataset, ("igcam.guide.objectness.proposals=[]",), STAGES[:4]),
    "tags": (other_tags, (), STAGES[:1]),
    "a photo less": (lambda dataset: Dataset(dataset.classes, dataset.samples[:-1]), (), ()),
    "seed": (lambda dataset: dataset, ("seed=1",), ()),
}


@pytest.mark.parametrize("case", CASES)
def test_unchanged_stages_are_reused_and_the_outcome_is_that_of_a_whole_run(
    tiny_data: Dataset, options: FitOptions, first: RunFolder, tmp_path: Path, case: str
) -> None:
    change, settings, expected = CASES[case]
    dataset, chosen = change(tiny_data), with_setting(options, *settings)
    run = fit(dataset, tmp_path / "run", chosen, earlier=first.path)
    assert reused(run) == expected
    assert (": not reused from " in run.file("log.txt").read_text()) == (len(expected) < len(STAGES))
    whole = fit(dataset, tmp_path / "whole", chosen)
    assert contents(run.path, *ARRAYS) == contents(whole.path, *ARRAYS)
    assert read_json(run.file("metrics.json")).keys() == read_json(whole.file("metrics.json")).keys()


def test_stages_that_read_something_else_are_not_reused(
    tiny_data: Dataset, options: FitOptions, first: RunFolder, tmp_path: Path
) -> None:
    noisy = fit(tiny_data, tmp_path / "noisy", with_setting(options, "igcam.noisy_tags.weight=1"), earlier=first.path)
    run = fit(tiny_data, tmp_path / "run", options, earlier=noisy.path)
    assert reused(run) == STAGES[:3]
    assert f"guide: not reused from {noisy.path}: other inputs" in run.file("log.txt").read_text()
    assert contents(run.path, *ARRAYS) == contents(first.path, *ARRAYS)


def test_a_run_stays_whole_when_the_earlier_one_is_deleted(
    tiny_data: Dataset, options: FitOptions, first: RunFolder, tmp_path: Path
) -> None:
    earlier = Path(shutil.copytree(first.path, tmp_path / "earlier"))
    run = fit(with_marks(tiny_data), tmp_path / "run", options, earlier=earlier)
    held = contents(run.path, *ARRAYS, "bank/*/*/*", "stages/guide/proposals/*/*")
    shutil.rmtree(earlier)
    assert held == contents(run.path, *ARRAYS, "bank/*/*/*", "stages/guide/proposals/*/*")
    assert any("bank" in name for name in held)
    assert any("proposals" in name for name in held)


def test_a_finetuned_network_goes_with_its_tags(tiny_data: Dataset, tiny_run: RunFolder, tmp_path: Path) -> None:
    short = tiny_run.options.leave_out(["reweight", "sharpen", "crf"])
    same = fit(with_marks(tiny_data), tmp_path / "same", short, earlier=tiny_run.path)
    assert reused(same) == ("features", "classify", "cam", "tagger")
    assert same.facts("finetune") == tiny_run.facts("finetune")
    other = fit(other_tags(tiny_data), tmp_path / "other", short, earlier=tiny_run.path)
    assert reused(other) == ()


def test_stages_older_than_their_files_are_not_reused(tiny_data: Dataset, options: FitOptions, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    samples = [
        replace(
            sample,
            image=Path(shutil.copy(sample.image, photos)),
            truth=replace(sample.truth, path=Path(shutil.copy(sample.truth.path, photos))),
        )
        for sample in tiny_data
    ]
    dataset = Dataset(tiny_data.classes, tuple(samples))
    dataset = dataset.with_cues({samples[0].name: [MaskCue(source=samples[0].truth)]})
    before = fit(dataset, tmp_path / "before", options)
    later = before.done_file("guide").stat().st_mtime + 10
    os.utime(samples[0].truth.path, (later, later))
    run = fit(dataset, tmp_path / "mask", options, earlier=before.path)
    assert reused(run) == STAGES[:4]
    assert f"guide: not reused from {before.path}: {samples[0].truth.path} is newer" in run.file("log.txt").read_text()
    os.utime(samples[1].image, (later, later))
    assert reused(fit(dataset, tmp_path / "photo", options, earlier=before.path)) == ()


def test_a_run_that_cannot_serve_is_told_in_a_line(
    tiny_data: Dataset, options: FitOptions, first: RunFolder, tmp_path: Path
) -> None:
    old = Path(shutil.copytree(first.path, tmp_path / "old"))
    write_json(old / "run.json", {**read_json(old / "run.json"), "version": "0.0.0"})
    spoilt = Path(shutil.copytree(first.path, tmp_path / "spoilt"))
    write_json(spoilt / "samples.json", [1, 2])
    cases = {
        tmp_path / "nowhere": "is not a run folder",
        first.path: "is the run itself",
        old: "is of version 0.0.0",
        spoilt: "is not a list of samples",
    }
    for earlier, message in cases.items():
        out = first.path if message == "is the run itself" else tmp_path / "run"
        with pytest.raises(IgcamError, match=message) as caught:
            fit(tiny_data, out, options, earlier=earlier)
        assert "\n" not in str(caught.value)
