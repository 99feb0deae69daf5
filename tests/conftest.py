"""What tests share: the command line, and one tiny run, into which nothing is to be written."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from command import Command

    from igcam.data.sample import Dataset
    from igcam.runs.folder import RunFolder


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Import a script of the folder examples by its name."""

    def load(name: str) -> ModuleType:
        file = Path(__file__).parents[1] / "examples" / f"{name}.py"
        specification = importlib.util.spec_from_file_location(name, file)
        assert specification is not None
        assert specification.loader is not None
        module = importlib.util.module_from_spec(specification)
        # Dataclasses look their module up there.
        monkeypatch.setitem(sys.modules, name, module)
        specification.loader.exec_module(module)
        return module

    return load


@pytest.fixture
def igcam(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run a command as the shell would, and return its exit status and all that it printed."""
    from igcam.cli.main import main

    def command(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["igcam", *map(str, arguments)])
        status: object = 0
        try:
            main()
        except SystemExit as end:
            status = end.code or 0
        printed = capsys.readouterr()
        assert "Traceback" not in printed.out + printed.err
        return int(str(status)), printed.out + printed.err

    return command


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos, tags.csv and masks of built-in scenes."""
    from tiny_runs import COUNT, SCENES

    from igcam.data.synthetic.scenes import write_scenes

    return write_scenes(tmp_path_factory.mktemp("tiny") / "scenes", COUNT, options=SCENES)


@pytest.fixture(scope="session")
def tiny_data(scenes: Path) -> Dataset:
    """The same, read."""
    from tiny_runs import tiny_dataset

    return tiny_dataset(scenes)


@pytest.fixture(scope="session")
def tiny_run(tiny_data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A finished run of all stages, whose backbone was trained in it."""
    from tiny_runs import tiny_options

    from igcam.commands.fit import fit

    return fit(tiny_data, tmp_path_factory.mktemp("tiny") / "run", tiny_options(), split="scenes")


@pytest.fixture(scope="session")
def trained(tiny_run: RunFolder) -> Path:
    """The weights of its backbone."""
    return tiny_run.file("stages", "finetune", "backbone.safetensors")
