"""Every benchmark can be loaded: an import that is gone is seen here, not hours into a run."""

import importlib
import sys
from pathlib import Path

import pytest

from igcam.core.errors import IgcamError
from igcam.metrics.ledger import Ledger
from igcam.metrics.results import Row, write_results

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.parametrize("name", sorted(file.stem for file in FOLDER.glob("*.py")))
def test_it_loads(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(FOLDER)
    known = set(sys.modules)
    module = importlib.import_module(name)
    assert module.__doc__
    for other in set(sys.modules) - known:
        if str(getattr(sys.modules[other], "__file__", "")).startswith(str(FOLDER)):
            del sys.modules[other]


def test_seeds_are_added_to_those_of_the_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(FOLDER)
    earlier = importlib.import_module("animals").earlier
    results = tmp_path / "results.json"
    rows = [
        Row("tags/miou", 70.0, "%"),
        Row.from_values("boxes/miou", [70.0, 72.0], "%"),
        Row.from_values("boxes/of-full", [90.0], "%"),
        Row("old/miou", 70.0, "%", n=2),
    ]
    write_results(results, Ledger("a", "b", 1, True), rows)
    assert earlier(results, 0, ["tags/"]) == {}
    assert earlier(results, 1, ["tags/"]) == {"tags/miou": [70.0]}
    assert earlier(results, 2, ["boxes/"]) == {"boxes/miou": [70.0, 72.0]}
    with pytest.raises(IgcamError, match="boxes/miou: has 2\n  masks5/: has no row"):
        earlier(results, 1, ["tags/", "boxes/", "masks5/"])
    with pytest.raises(IgcamError, match="old/miou: has 0"):
        earlier(results, 2, ["old/"])


def test_rows_of_other_ids_are_kept_before_the_new_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(FOLDER)
    with_kept_rows = importlib.import_module("tables").with_kept_rows
    results, new = tmp_path / "x.json", [Row("b", 5, "%"), Row("c", 6, "%")]
    assert with_kept_rows(results, new) == new
    write_results(results, Ledger("a", "b", 1, True), [Row("a", 1, "s"), Row("b", 2, "%")])
    assert with_kept_rows(results, new) == [Row("a", 1, "s"), *new]
