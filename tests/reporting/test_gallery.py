from __future__ import annotations

from base64 import b64decode
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from report_runs import make_run

from igcam.core.errors import IgcamError
from igcam.data.masks import write_mask
from igcam.data.sample import Sample
from igcam.reporting.gallery import choose, draw, margin
from igcam.reporting.rendering import data_uri
from igcam.reporting.run_data import RunData, read_run


def run_with(scores: dict[str, float], images: int) -> RunData:
    entries = tuple(Sample(str(index), Path("x"), ()) for index in range(images))
    return RunData(Path("run"), "igcam", "0", 0, {}, ("a",), entries, ({},) * images, (), {}, scores, {})


def test_best_median_and_worst_by_hand() -> None:
    run = run_with({str(index): value for index, value in enumerate([50, 90, 10, 70, 30, 60, 40])}, 7)
    found = dict(choose(run, 1))
    assert found == {"Best": (1,), "Median": (0,), "Worst": (2,)}
    found = dict(choose(run, 2))
    assert found == {"Best": (1, 3), "Median": (5, 0), "Worst": (2, 4)}


@given(st.lists(st.floats(0, 100), max_size=30), st.integers(0, 6))
def test_no_image_is_shown_twice(values: list[float], pictures: int) -> None:
    run = run_with({str(index): value for index, value in enumerate(values)}, len(values) + 3)
    choices = choose(run, pictures)
    if values:
        chosen = [index for _, indices in choices for index in indices]
        assert len(chosen) == len(set(chosen))
        assert all(0 < len(indices) <= pictures for _, indices in choices)
        assert len(chosen) == min(3 * pictures, len(values)) or len(values) < 3 * pictures
        if pictures:
            assert values[choices[0][1][0]] == max(values)
            assert len(values) == 1 or values[choices[-1][1][0]] == min(values)


def test_without_truth_the_surest_come_first() -> None:
    maps = np.zeros((3, 2, 4, 4), np.float16)
    maps[0, 0], maps[1, 1], maps[2, 0] = 0.5, 0.9, 0.1
    choices = choose(replace(run_with({}, 3), arrays={"maps": maps}), 1)
    assert choices == [("Surest", (1,)), ("Middling", (0,)), ("Least sure", (2,))]


def test_without_maps_they_are_spread() -> None:
    assert choose(run_with({}, 9), 1)[0][1] == (0, 4, 8)
    assert choose(run_with({}, 2), 3)[0][1] == (0, 1)
    assert choose(run_with({}, 0), 3) == []


def test_margin_by_hand() -> None:
    scores = np.array([[[0.9, 0.5]], [[0.1, 0.5]], [[0.3, 0.0]]])
    assert margin(scores) == pytest.approx((0.6 + 0.0) / 2)


def test_pictures_are_made_to_fit() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    sizes = [len(data_uri(noise, limit)) for limit in (10**9, 60_000, 20_000)]
    assert sizes[0] > 60_000 >= sizes[1] > 20_000 >= sizes[2]
    picture = Image.open(BytesIO(b64decode(data_uri(noise, 10**9).partition(",")[2])))
    assert (picture.format, picture.size) == ("JPEG", (400, 300))


def test_panels_of_a_full_run(tmp_path: Path) -> None:
    run = read_run(make_run(tmp_path, images=2))
    row = draw(run, 0)
    titles = [panel.title for panel in row.panels]
    assert titles == ["Photo", "Activation map", "Pseudo label", "Final mask", "Truth"]
    assert len({panel.picture.shape for panel in row.panels}) == 1
    assert len({panel.picture.tobytes() for panel in row.panels}) == 5
    assert row.name in row.panels[3].description
    assert "%" in row.panels[4].description


def test_what_is_missing_is_left_out(tmp_path: Path) -> None:
    folder = make_run(tmp_path, images=2, stages=("cam",), truth=False)
    (folder / "masks" / "farm" / "scene-000.png").unlink()
    run = read_run(folder)
    assert [panel.title for panel in draw(run, 0).panels] == ["Photo", "Activation map"]
    assert [panel.title for panel in draw(run, 1).panels] == ["Photo", "Activation map", "Final mask"]


def test_masks_of_other_classes_are_named(tmp_path: Path) -> None:
    folder = make_run(tmp_path, images=1)
    write_mask(folder / "masks" / "farm" / "scene-000.png", np.full((64, 64), 9, np.uint8))
    with pytest.raises(IgcamError, match=r"scene-000\.png: ids must be 0\.\.5 or 255, got 9"):
        draw(read_run(folder), 0)
