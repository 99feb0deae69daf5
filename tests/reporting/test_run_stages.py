from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from report_runs import make_run

from igcam.core.errors import IgcamError
from igcam.core.files import write_array, write_json
from igcam.reporting.run_data import read_run
from igcam.reporting.run_stages import gallery_arrays, stage_titles


def begun(run: Path) -> None:
    write_json(run / "run.json", {"options": {"method": {"name": "igcam", "noisy_tags": {"weight": 1.0}}}})


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
