from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from igcam.data.images import load_image

ROOT = Path(__file__).parents[2]


def test_every_step_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    specification = importlib.util.spec_from_file_location("draw_refine", ROOT / "examples" / "draw_refine.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    monkeypatch.setitem(sys.modules, "draw_refine", module)
    specification.loader.exec_module(module)
    module.draw(tmp_path, ((1, (19, 23)),))
    drawn = {file.name for file in tmp_path.iterdir()}
    assert drawn == {"refine.jpg", *(f"refine-{step}.jpg" for step in ("affinity", "walk", "pyramid", "crf"))}
    text = (ROOT / "docs" / "refine.md").read_text()
    for name in drawn:
        assert load_image(tmp_path / name).std() > 20, "not an empty sheet"
        assert f"images/{name}" in text
        assert (ROOT / "docs" / "images" / name).is_file()
