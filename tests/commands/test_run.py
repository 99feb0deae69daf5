"""A run in Python."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from igcam.commands.run import Run
from igcam.core.errors import IgcamError
from igcam.data.images import load_image
from igcam.data.sample import Dataset
from igcam.runs.folder import RunFolder


def test_a_file_an_array_and_a_folder_give_the_same(tiny_run: RunFolder, tiny_data: Dataset) -> None:
    run, photo = Run(tiny_run.path), tiny_data.samples[0].image
    (of_file,) = run.predict(photo)
    (of_array,) = run.predict([load_image(photo)])
    every = run.predict(photo.parent)
    np.testing.assert_array_equal(of_file, of_array)
    assert len(every) == len(tiny_data)
    np.testing.assert_array_equal(every[0], of_file)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((8, 8, 3)),
        np.zeros((8, 8, 3), np.uint16),
        np.zeros((8, 8), np.uint8),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((0, 8, 3), np.uint8),
        None,
    ],
)
def test_other_arrays_are_refused(tiny_run: RunFolder, image: np.ndarray) -> None:
    with pytest.raises(IgcamError, match=r"^images: must be files or arrays, uint8 \(H, W, 3\)"):
        Run(tiny_run.path).predict([image])


def test_what_is_not_there_is_told(tiny_run: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(IgcamError, match=r"nothing\.jpg"):
        Run(tiny_run.path).predict(tmp_path / "nothing.jpg")
    with pytest.raises(IgcamError, match="is not a run folder"):
        Run(tmp_path / "nowhere").metrics()
    run = Run(shutil.copytree(tiny_run.path, tmp_path / "run"))
    for content in ("{}", "[]", '{"stages": {"cam": 3}}'):
        run.file("metrics.json").write_text(content)
        with pytest.raises(IgcamError, match=r"metrics\.json: has no rows of stages"):
            run.metrics()
