"""The examples of the public API run as they stand in the docstrings."""

from __future__ import annotations

import doctest
import shutil
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
from tiny_runs import tiny_options

import igcam
from igcam.commands.fit import fit
from igcam.data.sample import Dataset


@pytest.fixture(scope="module")
def folder(scenes: Path, trained: Path, tiny_data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the examples have: photos, tags.csv, masks, the same in other formats, and a finished run."""
    folder = tmp_path_factory.mktemp("doctests")
    for name in ("photos", "masks"):
        shutil.copytree(scenes / name, folder / name)
    shutil.copy(scenes / "tags.csv", folder)
    dataset = igcam.read_folder(folder / "photos", folder / "tags.csv", folder / "masks")
    fit(dataset, folder / "runs" / "mine", tiny_options(trained), split="scenes")
    for format in ("voc", "coco"):
        igcam.export(folder / "masks", dataset, folder / format, format)
    shutil.move(folder / "voc", folder / "export")
    shutil.move(folder / "export" / "VOCdevkit" / "VOC2012", folder / "voc")
    return folder


@pytest.mark.parametrize("name", [name for name in igcam.__all__ if name != "__version__"])
def test_its_example_runs(name: str, folder: Path, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    thing = getattr(igcam, name)
    examples = doctest.DocTestFinder(recurse=False).find(
        thing, name, globs={"igcam": igcam, "small": tiny_options(trained)}
    )
    assert [example for example in examples if example.examples], "has an example"
    for example in examples:
        result = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example)
        assert result.failed == 0


def test_the_package_shows_the_way(folder: Path, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    (example,) = doctest.DocTestFinder(recurse=False).find(
        igcam, "igcam", module=False, globs={"igcam": igcam, "small": tiny_options(trained)}
    )
    shutil.rmtree("runs/fresh", ignore_errors=True)
    source = example.docstring or ""
    assert "igcam.fit" in source


def test_a_run_and_a_data_set_show_themselves_in_a_notebook(folder: Path) -> None:
    page = igcam.Run(folder / "runs" / "mine")._repr_html_()
    assert "data:image" in page
    assert "data:image" in igcam.read_folder(folder / "photos", folder / "tags.csv")._repr_html_()


def test_public_names_are_where_they_are_said_to_be() -> None:
    for name, home in igcam._HOMES.items():
        module, _, attribute = home.partition(":")
        assert getattr(import_module(module), attribute or name) is getattr(igcam, name)
    assert set(dir(igcam)) == {*igcam._HOMES, "__version__"}
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = igcam.nothing
    assert replace(igcam.FitOptions(), seed=1).seed == 1
