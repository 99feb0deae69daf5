from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from igcam.data.images import load_image

ROOT = Path(__file__).parents[2]


def test_every_kind_of_cue_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    specification = importlib.util.spec_from_file_location("draw_cues", ROOT / "examples" / "draw_cues.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    monkeypatch.setitem(sys.modules, "draw_cues", module)
    specification.loader.exec_module(module)
    module.draw(tmp_path, (1,))
    sheet = load_image(tmp_path / "cues.jpg")
    # Five columns of 200 pixels with 8 between them; no two show the same.
    columns = [sheet[:, 8 + 208 * place : 208 + 208 * place].astype(int) for place in range(5)]
    for place, column in enumerate(columns):
        assert all(np.abs(column - other).mean() > 2 for other in columns[:place])
    assert "images/cues.jpg" in (ROOT / "docs" / "guidance.md").read_text()
    assert (ROOT / "docs" / "images" / "cues.jpg").is_file()
