from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from report_runs import ALL_STAGES, make_run

from igcam.core.errors import IgcamError
from igcam.core.files import read_json, write_array, write_json
from igcam.reporting.run_data import gallery_arrays, read_run, stage_titles


def test_a_run_is_read(tmp_path: Path) -> None:
    folder = make_run(tmp_path, images=5)
    run = read_run(folder)
    assert run.method == "igcam"
    assert run.classes == ("fox", "frog", "owl", "panda", "pig")
    assert list(run.cues) == [{"mask": 1}, {}, {}, {}, {"mask": 1}]
    assert tuple(stage.name for stage in run.measured) == ALL_STAGES
    assert run.seconds == 183.75
    assert run.arrays["maps"].shape == (5, 6, 24, 24)
    assert isinstance(run.arrays["maps"], np.memmap)
    assert set(run.image_scores) == {f"farm/scene-{index:03d}" for index in range(5)}
    mask = run.mask(run.entries[0])
    assert mask is not None
    assert mask.read().shape == (64, 64)


def test_without_truth_the_time_is_the_sum(tmp_path: Path) -> None:
    run = read_run(make_run(tmp_path, stages=("cam", "guide"), truth=False))
    assert run.measured == ()
    assert run.seconds == 12.25 + 24.5


def test_stages_are_in_order_and_unfinished_ones_are_left_out(tmp_path: Path) -> None:
    folder = make_run(tmp_path, stages=("crf", "cam"))
    for name in ("zebra", "features"):
        write_json(folder / "stages" / name / "stage.json", {"stage": name, "seconds": 1})
    (folder / "stages" / "guide").mkdir()
    assert [stage.name for stage in read_run(folder).stages] == ["features", "cam", "crf", "zebra"]


def test_a_pass_that_draws_for_several_stages_counts_once(tmp_path: Path) -> None:
    folder = make_run(tmp_path, stages=("cam",), truth=False)
    for name in ("sharpen", "crf", "masks"):
        write_json(folder / "stages" / name / "stage.json", {"stage": name, "seconds": 8.5, "curve": []})
    run = read_run(folder)
    assert [stage.seconds for stage in run.stages] == [12.25, None, None, 8.5]
    assert run.seconds == 20.75


@pytest.mark.parametrize("name", ["run.json", "samples.json"])
def test_folders_that_are_no_run(tmp_path: Path, name: str) -> None:
    folder = make_run(tmp_path, images=2)
    (folder / name).unlink()
    with pytest.raises(IgcamError, match=f"run: is not a run folder: {name} is missing"):
        read_run(folder)


@pytest.mark.parametrize("name", ["maps", "pseudo_labels", "confidence"])
def test_arrays_of_another_run(tmp_path: Path, name: str) -> None:
    folder = make_run(tmp_path, images=3)
    path = next(folder.glob(f"stages/*/{name}.npy"))
    write_array(path, np.load(path)[:2])
    with pytest.raises(IgcamError, match=rf"{name}\.npy: must be 3 x .*, got 2 x") as caught:
        read_run(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("samples.json", {"classes": ["a"]}),
        ("samples.json", {"classes": ["a"], "samples": [{"name": "x"}]}),
        ("samples.json", [1]),
        ("run.json", [1]),
        ("images.json", {"scores": 3}),
        ("stages/guide/stage.json", {"curve": [3]}),
        ("stages/guide/stage.json", []),
        ("stages/guide/metrics.json", {"rows": []}),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, name: str, content: object) -> None:
    folder = make_run(tmp_path, images=2)
    write_json(folder / name, content)
    with pytest.raises(IgcamError, match=name) as caught:
        read_run(folder)
    assert "\n" not in str(caught.value)


def test_images_without_a_score_have_none(tmp_path: Path) -> None:
    folder = make_run(tmp_path, images=2)
    rows = read_json(folder / "images.json")["scores"]
    write_json(folder / "images.json", {"scores": [rows[0], {**rows[1], "miou": None}]})
    assert list(read_run(folder).image_scores) == [rows[0]["name"]]


def begun(run: Path) -> None:
    write_json(
        run / "run.json", {"version": "0.2.0", "options": {"method": {"name": "igcam", "noisy_tags": {"weight": 1.0}}}}
    )


def test_finished_stages_have_titles_and_are_in_order(tmp_path: Path) -> None:
    begun(tmp_path)
    for name in ("guide", "noisy_tags", "cam", "zebra", "ant"):
        write_json(tmp_path / "stages" / name / "stage.json", {})
    (tmp_path / "stages" / "crf").mkdir()
    titles = stage_titles(tmp_path)
    assert list(titles) == ["cam", "noisy_tags", "guide", "ant", "zebra"]
    assert titles["noisy_tags"][0] == "Noisy tags"
    assert titles["zebra"] == ("zebra", "")


def test_arrays_of_older_runs_are_found(tmp_path: Path) -> None:
    folder = make_run(tmp_path, images=2)
    arrays = read_run(folder).arrays
    guide = folder / "stages" / "guide"
    (guide / "pseudo_labels.npy").rename(guide / "targets.npy")
    (guide / "confidence.npy").rename(guide / "trust.npy")
    older = read_run(folder).arrays
    assert set(older) == {"maps", "pseudo_labels", "confidence"}
    assert all(np.array_equal(older[key], arrays[key]) for key in arrays)


@pytest.mark.parametrize("shape", [(3, 4, 4), (2, 4, 5, 5), (3, 3, 5, 5), (3, 4, 0, 5), (3,)])
def test_arrays_must_fit_the_run(tmp_path: Path, shape: tuple[int, ...]) -> None:
    begun(tmp_path)
    write_array(tmp_path / "stages" / "cam" / "maps.npy", np.zeros(shape, np.float16))
    with pytest.raises(IgcamError, match=r"maps\.npy: must be 3 x 4 x h x w floats, got"):
        gallery_arrays(tmp_path, 3, 3)
    write_array(tmp_path / "stages" / "cam" / "maps.npy", np.zeros((3, 4, 5, 5), np.uint8))
    with pytest.raises(IgcamError, match=r"got 3 x 4 x 5 x 5 of uint8"):
        gallery_arrays(tmp_path, 3, 3)
    write_array(tmp_path / "stages" / "cam" / "maps.npy", np.zeros((3, 4, 5, 5), np.float16))
    assert list(gallery_arrays(tmp_path, 3, 3)) == ["maps"]
