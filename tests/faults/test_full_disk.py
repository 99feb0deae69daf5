"""A full disk: one clear line, nothing half written, and the same command goes on once there is space.

The disk is a small tmpfs where this process may mount one. Everywhere, a limit on the size of files (RLIMIT_FSIZE)
stands for it, which fails in the same calls.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from commands import Ended, command
from kills import Work, works
from tiny_runs import contents

from igcam.core import files
from igcam.core.errors import IgcamError
from igcam.core.files import open_memory_map
from igcam.data.masks import read_mask_file
from igcam.runs.folder import RunFolder

KILOBYTES = {"label": (16, 200), "predict": (24, 64), "fit": (40, 150, 500)}
"""Sizes of disks that are full early and late."""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", folder], capture_output=True)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if mounted.returncode:
        pytest.skip("this process may not mount a small disk")
    yield folder
    subprocess.run(["umount", folder], check=True)


def resize(disk: Path, kilobytes: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={kilobytes}k", disk], check=True)


@pytest.fixture(scope="module")
def every(scenes: Path, tiny_run: RunFolder, trained: Path) -> dict[str, Work]:
    return works(scenes, tiny_run.path, trained)


def check_refused(ended: Ended, folder: Path, message: str) -> None:
    """Check that a command ended with one line, and has left whole files only."""
    lines = [line for line in ended.output.splitlines() if line.strip() and "warnings; igcam check" not in line]
    assert ended.status == 2, ended.output
    assert len(lines) == 1, ended.output
    assert message in lines[0]
    assert str(folder) in lines[0]
    assert [file for file in folder.rglob("*") if file.name.endswith(".part")] == []
    for file in folder.rglob("masks/**/*.png"):
        read_mask_file(file)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["label", "predict", "fit"])
def test_a_full_disk_is_one_line_and_space_lets_it_go_on(
    name: str, every: dict[str, Work], disk: Path, tmp_path: Path
) -> None:
    work = every[name]
    words = work.words(disk)
    for kilobytes in KILOBYTES[name]:
        resize(disk, kilobytes)
        check_refused(command(words, tmp_path / "log.txt"), disk, "cannot be written: No space left on device")
    resize(disk, 64 << 10)
    assert command(words, tmp_path / "log.txt").status == 0
    assert command(work.words(tmp_path / "other"), tmp_path / "log.txt").status == 0
    assert contents(disk, *work.outcome) == contents(tmp_path / "other", *work.outcome)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "largest"), [("label", 3000), ("predict", 800), ("fit", 3000), ("fit", 20000)])
def test_a_file_that_may_not_grow_is_one_line(name: str, largest: int, every: dict[str, Work], tmp_path: Path) -> None:
    ended = command(every[name].words(tmp_path / "out"), tmp_path / "log.txt", largest_file=largest)
    check_refused(ended, tmp_path / "out", "cannot be written: File too large")
    shutil.rmtree(tmp_path / "out")


def test_space_for_an_array_is_taken_before_it_is_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "ZEROS", 100)
    file = tmp_path / "a.npy.part"
    array = open_memory_map(file, (3, 50, 7))
    assert file.stat().st_blocks * 512 >= array.nbytes
    array[1] = 1
    array.flush()
    assert np.load(file).sum() == 350


def test_no_space_for_an_array_is_one_line(disk: Path) -> None:
    with pytest.raises(IgcamError, match=r"a\.npy\.part: cannot be written: No space left on device$"):
        open_memory_map(disk / "a.npy.part", (1000, 1000))
    assert list(disk.iterdir()) == []


def test_no_space_for_a_line_of_the_log_is_one_line(disk: Path) -> None:
    (disk / "other").write_bytes(bytes(16 << 10))
    with pytest.raises(IgcamError, match=r"log\.txt: cannot be written: No space left on device$"):
        RunFolder(disk).log("a line")
