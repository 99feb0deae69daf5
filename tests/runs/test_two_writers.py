from __future__ import annotations

from pathlib import Path

import pytest

from igcam.core.errors import IgcamError
from igcam.runs.folder import RunFolder


def test_a_second_writer_is_refused_until_the_first_one_ends(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "new" / "run")
    with run.locked(), pytest.raises(IgcamError, match=r"run: another process is writing to this run$"):
        RunFolder(run.path).locked().__enter__()
    with run.locked():
        assert run.path.is_dir()


def test_a_folder_of_other_files_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(IgcamError, match="must be new, empty or a run folder"), RunFolder(tmp_path).locked():
        pass
    assert [file.name for file in tmp_path.iterdir()] == ["photo.jpg"]


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "run").touch()
    with pytest.raises(IgcamError, match="must be new, empty or a run folder"), RunFolder(tmp_path / "run").locked():
        pass
