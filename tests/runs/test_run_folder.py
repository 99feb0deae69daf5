from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tiny_runs import contents, tiny_options

from igcam.core.errors import IgcamError
from igcam.core.files import read_json, write_json
from igcam.core.validation import with_setting
from igcam.data.cue import MaskCue, PointCue
from igcam.data.masks import MaskFile
from igcam.data.sample import Dataset
from igcam.runs.dataset_file import dataset_to_plain, read_dataset_file
from igcam.runs.folder import RunFolder

OPTIONS = tiny_options()


def begun(folder: Path, data: Dataset) -> RunFolder:
    """Begin a run of which one stage is done."""
    run = RunFolder.begin(folder, OPTIONS, data)
    run.finish("features", 1.0)
    return run


def test_a_new_folder_knows_what_was_asked(tmp_path: Path, tiny_data: Dataset) -> None:
    run = RunFolder.begin(tmp_path / "a" / "run", OPTIONS, tiny_data)
    assert RunFolder.open(run.path).options == OPTIONS
    assert run.classes == tiny_data.classes
    assert read_dataset_file(run.file("samples.json")).names == tiny_data.names
    assert {"python", "torch", "numpy", "platform"} <= set(read_json(run.file("environment.json")))
    assert not run.is_done("classify")
    run.finish("classify", 1.5, curve=[])
    assert run.is_done("classify")
    assert run.facts("classify") == {"stage": "classify", "seconds": 1.5, "curve": []}
    assert run.file("log.txt").read_text().endswith("classify: done in 1.5 s\n")


def test_the_same_run_goes_on(tmp_path: Path, tiny_data: Dataset) -> None:
    run = begun(tmp_path / "run", tiny_data)
    before = contents(run.path, "*.json")
    RunFolder.begin(run.path, OPTIONS, tiny_data)
    assert contents(run.path, "*.json") == before


@pytest.mark.parametrize(
    ("setting", "line"),
    [
        ("seed=1", "  seed: 0 here, 1 asked"),
        ("igcam.guide.learn.head.epochs=3", "  options.method.guide.learn.head.epochs: 1 here, 3 asked"),
        ("crf=deeplab", "  options.crf: "),
    ],
)
def test_other_options_are_refused_by_name(tmp_path: Path, tiny_data: Dataset, setting: str, line: str) -> None:
    run = begun(tmp_path / "run", tiny_data)
    with pytest.raises(IgcamError) as caught:
        RunFolder.begin(run.path, with_setting(OPTIONS, setting), tiny_data)
    lines = str(caught.value).splitlines()
    assert lines[0] == f"{run.path}: holds another run; choose another --out:"
    assert any(found.startswith(line) for found in lines[1:])
    assert len(lines) <= 3


def test_other_data_are_refused(tmp_path: Path, tiny_data: Dataset) -> None:
    run = begun(tmp_path / "run", tiny_data)
    samples = tiny_data.samples
    first = samples[0]
    others = {
        "images: 16 here, 15 asked": Dataset(tiny_data.classes, samples[1:]),
        "classes: ": Dataset((*tiny_data.classes[:-1], "cow"), samples),
        "the images, tags, cues or true masks differ": Dataset(
            tiny_data.classes, (replace(first, tags=(0, 1, 2, 3, 4)), *samples[1:])
        ),
        "the images, tags, cues or": tiny_data.with_cues({first.name: [PointCue(label=1, x=3, y=4)]}),
        "the images, tags, cues": Dataset(tiny_data.classes, (replace(first, truth=None), *samples[1:])),
    }
    for message, data in others.items():
        with pytest.raises(IgcamError, match=message) as caught:
            RunFolder.begin(run.path, OPTIONS, data)
        assert len(str(caught.value).splitlines()) == 2


def test_another_version_may_go_on(tmp_path: Path, tiny_data: Dataset) -> None:
    run = begun(tmp_path / "run", tiny_data)
    write_json(run.file("run.json"), read_json(run.file("run.json")) | {"version": "0.0.9"})
    RunFolder.begin(run.path, OPTIONS, tiny_data)


def test_a_run_without_any_finished_stage_may_be_begun_anew(tmp_path: Path, tiny_data: Dataset) -> None:
    # As after a misspelt --weights, which is only found out when the network is built.
    run = RunFolder.begin(tmp_path / "run", OPTIONS, tiny_data)
    other = with_setting(OPTIONS, "seed=5")
    assert RunFolder.begin(run.path, other, tiny_data).options == other


@pytest.mark.parametrize("left", ["samples.json", "environment.json", ".run.json.a1b2.part"])
def test_what_a_kill_at_the_very_beginning_leaves_is_no_obstacle(tmp_path: Path, tiny_data: Dataset, left: str) -> None:
    (tmp_path / left).write_text("{}")
    assert RunFolder.begin(tmp_path, OPTIONS, tiny_data).options == OPTIONS


def test_other_files_are_not_written_over(tmp_path: Path, tiny_data: Dataset) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"")
    for path in (tmp_path, tmp_path / "photo.jpg"):
        with pytest.raises(IgcamError, match="must be new, empty or a run folder, but has other files"):
            RunFolder.begin(path, OPTIONS, tiny_data)
    assert [file.name for file in tmp_path.iterdir()] == ["photo.jpg"]


def test_a_folder_without_a_run_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(IgcamError, match=r"nowhere: is not a run folder: it has no run\.json"):
        RunFolder.open(tmp_path / "nowhere")


def test_samples_are_read_back(tmp_path: Path, tiny_data: Dataset) -> None:
    first, second, *_ = tiny_data.samples
    lookup = tuple(range(256))
    data = Dataset(
        tiny_data.classes,
        (
            replace(first, tags=None, truth=None),
            replace(second, truth=MaskFile(tmp_path / "m.png", lookup), cues=(MaskCue(source=MaskFile(tmp_path)),)),
        ),
    )
    write_json(tmp_path / "samples.json", dataset_to_plain(data))
    read = read_dataset_file(tmp_path / "samples.json")
    assert read.classes == data.classes
    assert read.samples == (data.samples[0], replace(data.samples[1], cues=()))
    assert read_json(tmp_path / "samples.json")["samples"][1]["cues"] == {"mask": 1}
    write_json(tmp_path / "samples.json", {"classes": ["a"], "samples": [{}]})
    with pytest.raises(IgcamError, match=r"samples\.json: is not a list of samples"):
        read_dataset_file(tmp_path / "samples.json")
