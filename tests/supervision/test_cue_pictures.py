from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np

from igcam.data.images import load_image

ROOT = Path(__file__).parents[2]


def test_every_kind_of_cue_is_drawn(tmp_path: Path, example: Callable[[str], ModuleType]) -> None:
    example("draw_cues").draw(tmp_path, (1,))
    sheet = load_image(tmp_path / "cues.jpg")
    # Five columns of 200 pixels with 8 between them; no two show the same.
    columns = [sheet[:, 8 + 208 * location : 208 + 208 * location].astype(int) for location in range(5)]
    for location, column in enumerate(columns):
        assert all(np.abs(column - other).mean() > 2 for other in columns[:location])
    assert "images/cues.jpg" in (ROOT / "docs" / "guidance.md").read_text()
    assert (ROOT / "docs" / "images" / "cues.jpg").is_file()
