"""A run folder that version 0.1.0 has written still opens, labels and predicts as it did there."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from igcam.commands.label import label
from igcam.commands.predict import predict
from igcam.data.formats.folder import read_photos
from igcam.data.images import read_image_file
from igcam.data.masks import read_mask_file
from igcam.data.sample import Dataset
from igcam.runs.folder import RunFolder

FIXTURE = Path(__file__).parents[1] / "fixtures" / "run-0.1.0"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FIXTURE, tmp_path / "old"))


def photos(old: Path, tags: bool) -> Dataset:
    return read_photos(old / "photos", old / "tags.csv" if tags else None, RunFolder.open(old / "run").classes)


def assert_same(found: Path, expected: Path) -> None:
    """Compare masks; other processors may round a location's probability to the other side."""
    files = sorted(expected.glob("*.png"))
    assert len(files) == 2
    for file in files:
        ours, theirs = read_mask_file(found / file.name), read_mask_file(file)
        assert ours.shape == theirs.shape
        assert (ours == theirs).mean() > 0.99, file


def test_its_options_have_todays_names(old: Path) -> None:
    options = RunFolder.open(old / "run").options
    assert options.entry.name == "igcam"
    assert options.mask_stages == ("cam", "guide", "reweight", "sharpen", "crf")
    assert options.object_prior == 0.5
    assert options.chosen.guide.learn.pseudo_labels.size == 32
    assert RunFolder.open(old / "cam").options.mask_stages == ("cam",)


@pytest.mark.parametrize(("tags", "expected"), [(True, "labelled"), (False, "untagged")])
def test_it_labels(old: Path, tags: bool, expected: str) -> None:
    label(photos(old, tags), old / "run", old / "masks", use_tags=tags)
    assert_same(old / "masks", old / "expected" / expected)
    assert len({value for file in (old / "masks").glob("*.png") for value in np.unique(read_mask_file(file))}) > 1


@pytest.mark.parametrize(("run", "expected"), [("run", "predicted"), ("cam", "cam-predicted")])
def test_it_predicts(old: Path, run: str, expected: str) -> None:
    predict(photos(old, False), old / run, old / "masks")
    assert_same(old / "masks", old / "expected" / expected)


def test_its_segmenter_predicts(old: Path) -> None:
    shutil.copytree(old / "segmenter", old / "run" / "segmenter")
    predicted = predict(photos(old, False), old / "run", old / "masks", confidence=old / "confidence")
    assert predicted.model == "segmenter"
    assert_same(old / "masks", old / "expected" / "segmenter-predicted")
    ours, theirs = (
        read_image_file(folder / "scene-00000.png", np.asarray).astype(int)
        for folder in (old / "confidence", old / "expected" / "segmenter-confidence")
    )
    assert theirs.std() > 5
    assert np.abs(ours - theirs).mean() < 0.5
