from __future__ import annotations

import re
from pathlib import Path

import pytest
from report_runs import make_run

from igcam.data.images import load_image

DOCS = Path(__file__).parents[2] / "docs" / "report.md"


def test_the_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "runs").mkdir()
    make_run(tmp_path, images=3).rename(tmp_path / "runs" / "cats")
    monkeypatch.chdir(tmp_path)
    exec(first, {})
    assert Path("runs/cats/report.html").is_file()
    assert Path("cats.html").is_file()
    exec(second, {})
    assert load_image("sheet.png").shape[1] == 8 + 3 * 228
