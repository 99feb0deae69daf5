from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from report_runs import ALL_STAGES, CLASSES, make_run

from igcam.core.errors import IgcamError
from igcam.core.files import read_json, write_json
from igcam.data.images import save_jpeg
from igcam.reporting import write_report

VOID = {"img", "meta", "br"}
HOSTILE = "<script>alert(1)</script>\"'&amp;"


class Page(HTMLParser):
    """The elements of a page, its tables and its text; unbalanced tags are an error."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.source = path.read_text(encoding="utf-8")
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.tables: list[list[list[str]]] = []
        self.headings: list[str] = []
        self.text = ""
        self.feed(self.source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        assert len(dict(attributes)) == len(attributes)
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
        elif tag in ("h1", "h2", "h3", "h4"):
            self.headings.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if "small" in self.open and "table" in self.open:
            return
        if {"td", "th"} & set(self.open):
            self.tables[-1][-1][-1] += data
        if self.open and self.open[-1] in ("h1", "h2", "h3", "h4"):
            self.headings[-1] += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def values(run: Path, stage: str) -> dict[str, float]:
    rows = read_json(run / "stages" / stage / "metrics.json")["rows"]
    return {row["id"]: row["value"] for row in rows}


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("full"), images=10)


@pytest.fixture(scope="module")
def page(full: Path) -> Page:
    return Page(write_report(full, pictures=2))


def test_the_page_lies_in_the_run(full: Path, page: Page, tmp_path: Path) -> None:
    assert (full / "report.html").is_file()
    other = write_report(full, tmp_path / "deep" / "x.html", pictures=2)
    assert other == tmp_path / "deep" / "x.html"
    assert other.read_text(encoding="utf-8") == page.source


def test_the_page_needs_nothing_else(page: Page) -> None:
    assert not re.search(r"https?:|url\(|@import", page.source)
    assert {name for name, _ in page.elements}.isdisjoint({"script", "link", "iframe", "object", "base"})
    for name, attributes in page.elements:
        assert not {"href", "srcset", "data"} & set(attributes)
        assert not any(key.startswith("on") for key in attributes)
        assert name == "img" or "src" not in attributes
    assert all(str(image["src"]).startswith("data:image/jpeg;base64,") for image in page.all("img"))
    policies = [meta["content"] for meta in page.all("meta") if "http-equiv" in meta]
    assert policies == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_the_page_is_accessible(page: Page) -> None:
    assert page.all("html") == [{"lang": "en"}]
    assert all(image["alt"] and image["width"] and image["height"] for image in page.all("img"))
    assert all(svg.get("aria-label") or svg.get("aria-hidden") == "true" for svg in page.all("svg"))
    assert all(cell["scope"] in ("row", "col") for cell in page.all("th"))
    assert len(page.all("h1")) == 1
    assert "prefers-color-scheme: dark" in page.source


def test_stage_numbers_are_those_of_the_files(full: Path, page: Page) -> None:
    head, *rows = page.tables[0]
    assert head == ["Stage", "mIoU", "Boundary IoU", "Foreground IoU", "Time"]
    assert len(rows) == len(ALL_STAGES)
    for stage, row in zip(ALL_STAGES, rows, strict=True):
        metrics = values(full, stage)
        wanted = [f"{metrics[key]:.1f}" for key in ("miou", "boundary_iou", "foreground_iou")]
        assert row[1:4] == wanted
    assert [row[-1] for row in rows] == ["12.2 s", "24.5 s", "36.8 s", "49.0 s", "1 min 1 s"]


def test_differences_are_to_the_stage_before(full: Path, page: Page) -> None:
    mious = [values(full, stage)["miou"] for stage in ALL_STAGES]
    table = page.source[page.source.index("<tbody>") : page.source.index("</tbody>")]
    rows = table.split("<tr>")[1:]
    assert not re.search(r"[+±−]\d", rows[0])
    for before, after, row in zip(mious[:-1], mious[1:], rows[1:], strict=True):
        assert re.findall(r"[+±−]\d+\.\d", row)[0] == f"{after - before:+.1f}".replace("-", "−")


def test_class_numbers_are_those_of_the_files(full: Path, page: Page) -> None:
    first, last = values(full, "cam"), values(full, "crf")
    rows = page.tables[1][1:]
    assert {row[0] for row in rows} == {"background", *CLASSES}
    for name, _, *numbers in rows:
        wanted = [last[f"iou/{name}"], first[f"iou/{name}"], *(last[f"{k}/{name}"] for k in ("fpr", "fnr"))]
        assert [numbers[index] for index in (0, 1, 3, 4)] == [f"{value:.1f}" for value in wanted]
        assert numbers[5] == f"{last[f'boundary_iou/{name}']:.1f}"
    shown = [float(row[2]) for row in rows]
    assert shown == sorted(shown, reverse=True)


def test_pictures_are_best_median_and_worst(full: Path, page: Page) -> None:
    scores = {row["name"]: row["miou"] for row in read_json(full / "images.json")["scores"]}
    ordered = sorted(scores, key=lambda name: -scores[name])
    start = page.headings.index("Best")
    assert page.headings[start : start + 9] == [
        "Best", *ordered[:2], "Median", *ordered[4:6], "Worst", *ordered[:-3:-1]
    ]  # fmt: skip
    assert len(page.all("img")) == 6 * 5
    assert f"{scores[ordered[0]]:.1f}% mIoU" in page.text


def test_the_ledger_is_told(page: Page) -> None:
    for text in ("scenes train, 10 images", "used to make the masks", "masks on 3 images", "constant 0.2"):
        assert text in page.text
    assert "about 14 min (estimated)" in page.text
    assert "backbone.levels" in page.text
    assert "upper bound" not in page.text


def test_an_oracle_is_called_one(tmp_path: Path) -> None:
    run = make_run(tmp_path, images=3, ledger={"oracle_threshold": True})
    assert "upper bound" in Page(write_report(run)).text


def test_without_truth_there_are_no_metrics_and_the_page_says_why(tmp_path: Path) -> None:
    page = Page(write_report(make_run(tmp_path, truth=False), pictures=1))
    assert "No truth masks were given" in page.text
    assert "mIoU" not in page.text
    assert "Class by class" not in page.text
    assert page.tables[0][0] == ["Stage", "Time"]
    assert [name for name in page.headings if "sure" in name.lower()] == ["Surest", "Least sure"]
    assert len(page.all("img")) == 3 * 4


def test_a_single_stage_has_nothing_to_compare(tmp_path: Path) -> None:
    page = Page(write_report(make_run(tmp_path, stages=("cam",)), pictures=1))
    assert len(page.tables[0]) == 2
    assert "at the start" not in page.tables[1][0]
    assert not page.all("polyline")
    assert len(page.all("img")) == 3 * 4


def test_a_run_that_has_just_begun(tmp_path: Path) -> None:
    page = Page(write_report(make_run(tmp_path, stages=()), pictures=1))
    assert "has not measured any stage yet" in page.text
    assert "Stage by stage" not in page.text
    assert len(page.all("img")) == 3 * 2


def test_a_run_without_anything_to_show(tmp_path: Path) -> None:
    run = make_run(tmp_path, stages=("cam",), truth=False)
    for name in ("environment.json", "stages/cam/maps.npy"):
        (run / name).unlink()
    page = Page(write_report(run, pictures=0))
    assert not page.all("img")
    assert "Pictures" not in page.headings
    assert "Machine" not in page.text


def test_names_cannot_break_the_page(tmp_path: Path) -> None:
    classes = [f"{HOSTILE}{index}" for index in range(5)]
    names = ["<script>alert(1)<", '" onerror="alert(1)', "a&lt;b", "</style>", "-->", "{x} %s $y"]
    ledger = {"split": HOSTILE, "threshold_rule": HOSTILE, "crf": {HOSTILE: HOSTILE}, "cues": {HOSTILE: 2}}
    run = make_run(tmp_path, classes=classes, names=names, ledger=ledger)
    content = read_json(run / "run.json")
    write_json(run / "run.json", {**content, "method": HOSTILE, "options": {HOSTILE: {HOSTILE: [HOSTILE]}}})
    page = Page(write_report(run, pictures=2))
    assert not page.all("script")
    assert set(names) <= set(page.headings)
    assert {row[0] for row in page.tables[1][1:]} == {"background", *classes}
    assert not any(key.startswith("on") for _, attributes in page.elements for key in attributes)
    assert len(page.all("style")) == 1


def test_photos_that_are_gone_are_named(tmp_path: Path) -> None:
    run = make_run(tmp_path, images=3)
    (tmp_path / "photos" / "1.jpg").unlink()
    page = Page(write_report(run, pictures=1))
    assert len(page.all("img")) == 2 * 5
    assert "1.jpg: does not exist" in page.text


def test_losses_that_are_no_numbers_are_left_out(tmp_path: Path) -> None:
    run = make_run(tmp_path, images=2, stages=("cam", "guide"))
    curve = [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": None}, {"epoch": 3, "loss": 0.25}]
    write_json(run / "stages" / "guide" / "stage.json", {"stage": "guide", "seconds": 1, "curve": curve})
    page = Page(write_report(run))
    assert ">0.25</text>" in page.source
    assert "epoch 1" in page.text


def test_even_many_noisy_pictures_stay_small(tmp_path: Path) -> None:
    run = make_run(tmp_path, images=30, stages=("cam", "guide"))
    noise = np.random.default_rng(0).integers(0, 256, (150, 200, 3), np.uint8)
    for photo in (tmp_path / "photos").iterdir():
        save_jpeg(photo, noise)
    page = Page(write_report(run, pictures=10))
    assert len(page.all("img")) == 30 * 5
    assert len(page.source) < 3_000_000


@pytest.mark.parametrize("pictures", [-1, 11])
def test_too_many_pictures(full: Path, pictures: int) -> None:
    with pytest.raises(IgcamError, match=f"pictures: must be 0 to 10, got {pictures}"):
        write_report(full, pictures=pictures)


def test_a_missing_run_is_named_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(IgcamError, match="nowhere: is not a run folder") as caught:
        write_report(tmp_path / "nowhere")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "nowhere").exists()


def test_the_page_is_called_as_its_folder(full: Path, page: Page) -> None:
    assert page.headings[0] == full.name
