from __future__ import annotations

import re
from pathlib import Path

import pytest


def test_the_example_of_the_page_runs(capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "influence.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    exec(compile(example, "docs/influence.md", "exec"), {})
    assert capsys.readouterr().out.splitlines() == [
        "the wrong tag is the most harmful: True",
        "adds up: True",
        "its weight is below one: True",
    ]
