from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from igcam.data.images import load_image

ROOT = Path(__file__).parents[2]


def test_every_step_is_drawn(tmp_path: Path, example: Callable[[str], ModuleType]) -> None:
    example("draw_refine").draw(tmp_path, ((1, (19, 23)),))
    drawn = {file.name for file in tmp_path.iterdir()}
    assert drawn == {"refine.jpg", *(f"refine-{step}.jpg" for step in ("affinity", "walk", "pyramid", "crf"))}
    text = (ROOT / "docs" / "refine.md").read_text()
    for name in drawn:
        assert load_image(tmp_path / name).std() > 20, "not an empty sheet"
        assert f"images/{name}" in text
        assert (ROOT / "docs" / "images" / name).is_file()
