"""Every benchmark can be loaded: an import that is gone is seen here, not hours into a run."""

import importlib
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "benchmarks"


@pytest.mark.parametrize("name", sorted(file.stem for file in FOLDER.glob("*.py")))
def test_it_loads(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(FOLDER)
    known = set(sys.modules)
    module = importlib.import_module(name)
    assert module.__doc__
    for other in set(sys.modules) - known:
        if str(getattr(sys.modules[other], "__file__", "")).startswith(str(FOLDER)):
            del sys.modules[other]
