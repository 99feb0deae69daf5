from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from report_runs import ALL_STAGES, make_run
from test_report_page import HOSTILE, Page, values

from igcam.core.errors import IgcamError
from igcam.data.cue import MaskCue, PointCue
from igcam.data.masks import MaskFile
from igcam.data.sample import Dataset
from igcam.reporting.notebook import dataset_html, run_html
from igcam.runs.dataset_file import read_dataset_file


def page_of(html: str, tmp_path: Path) -> Page:
    (tmp_path / "cell.html").write_text(html, encoding="utf-8")
    return Page(tmp_path / "cell.html")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path, images=10)


@pytest.fixture
def dataset(run: Path) -> Dataset:
    return read_dataset_file(run / "samples.json")


def test_a_run_has_its_metrics_and_eight_pictures(run: Path, tmp_path: Path) -> None:
    page = page_of(run_html(run), tmp_path)
    assert "10 images, 5 classes" in page.text
    assert page.tables[0][0] == ["Stage", "mIoU %", "Boundary IoU %", "Time"]
    assert [row[1] for row in page.tables[0][1:]] == [f"{values(run, stage)['miou']:.1f}" for stage in ALL_STAGES]
    images = page.all("img")
    assert len(images) == 8
    assert all(str(image["src"]).startswith("data:image/jpeg;base64,") for image in images)
    assert all(str(image["alt"]).endswith("with its mask") for image in images)
    assert len(page.source) < 200_000
    assert not page.all("style")


def test_a_run_without_truth_and_masks_shows_its_photos(tmp_path: Path) -> None:
    run = make_run(tmp_path, images=3, stages=(), truth=False)
    page = page_of(run_html(run), tmp_path)
    assert "mIoU" not in page.text
    assert len(page.all("img")) == 3
    assert not any(str(image["alt"]).endswith("with its mask") for image in page.all("img"))


def test_images_with_masks_are_preferred(run: Path, tmp_path: Path) -> None:
    for path in sorted((run / "masks").rglob("*.png"))[3:]:
        path.unlink()
    images = page_of(run_html(run), tmp_path).all("img")
    assert [image["alt"] for image in images] == [f"Photo farm/scene-{index:03d} with its mask" for index in range(3)]


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IgcamError, match="is not a run folder"):
        run_html(tmp_path)


def test_a_dataset_is_counted_and_drawn(dataset: Dataset, tmp_path: Path) -> None:
    first = dataset.samples[0]
    assert isinstance(first.truth, MaskFile)
    cues = (MaskCue(source=first.truth), PointCue(label=1, x=1, y=1), PointCue(label=2, x=2, y=2))
    samples = (replace(first, cues=cues, truth=None), replace(dataset.samples[1], tags=None), *dataset.samples[2:])
    page = page_of(dataset_html(replace(dataset, samples=samples)), tmp_path)
    assert "tags on 9 images, masks on 1 image, points on 1 image, truth masks on 9 images" in page.text
    counts = [sum(tag in (sample.tags or ()) for sample in samples) for tag in range(len(dataset.classes))]
    assert page.tables[0][1:] == [[name, str(n)] for name, n in zip(dataset.classes, counts, strict=True)]
    assert len(page.all("img")) == 8
    assert str(page.all("img")[0]["alt"]).endswith("with its mask")


def test_names_cannot_break_it_and_lost_photos_are_named(dataset: Dataset, tmp_path: Path) -> None:
    dataset.samples[1].image.unlink()
    samples = (replace(dataset.samples[0], name=HOSTILE), *dataset.samples[1:3])
    page = page_of(dataset_html(replace(dataset, classes=(HOSTILE, *dataset.classes[1:]), samples=samples)), tmp_path)
    assert "<script" not in page.source
    assert page.text.count(HOSTILE) == 3
    assert "Not shown: " in page.text
    assert "1.jpg: does not exist" in page.text
    assert len(page.all("img")) == 2


def test_many_classes_are_cut_short(tmp_path: Path) -> None:
    page = page_of(dataset_html(Dataset(tuple(f"class-{index}" for index in range(30)), ())), tmp_path)
    assert "0 images, 30 classes" in page.text
    assert page.tables[0][-1] == ["and 10 more"]
    assert not page.all("img")
