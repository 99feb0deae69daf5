from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from igcam.core.errors import IgcamError
from igcam.metrics.confusion_matrix import confusion, scores
from igcam.metrics.ledger import Ledger
from igcam.metrics.results import Row, interval, read_results, score_rows, write_results

LEDGER = Ledger(method="cam", split="val", split_size=2, tags_at_inference=False)


def test_interval_by_hand() -> None:
    mean, low, high = interval([1.0, 2.0, 3.0])  # t(2 degrees, 97.5%) = 4.30265, sd = 1
    assert mean == 2
    assert low == pytest.approx(2 - 4.30265 / np.sqrt(3), abs=1e-4)
    assert high == pytest.approx(2 + 4.30265 / np.sqrt(3), abs=1e-4)


def test_a_single_run_has_no_interval() -> None:
    assert interval([5.0]) == (5.0, None, None)
    with pytest.raises(ValueError, match="at least one number"):
        interval([])


def test_interval_covers_the_mean_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    covered = 0
    for _ in range(2000):
        _, low, high = interval(list(generator.normal(size=3)))
        covered += low is not None and high is not None and low <= 0 <= high
    assert 0.93 < covered / 2000 < 0.97


def test_written_results_are_read_back(tmp_path: Path) -> None:
    rows = [Row("miou", 41.7, "%"), Row.from_values("speed", [2.0, 2.2], "x", "beside it")]
    path = tmp_path / "results" / "cam.json"
    write_results(path, LEDGER, rows)
    assert read_results(path) == (LEDGER, rows)
    content = json.loads(path.read_text())
    assert list(content) == ["ledger", "rows"]
    assert list(content["rows"][0]) == ["id", "value", "unit", "low", "high", "n", "note", "values"]


def test_rows_know_the_value_of_every_seed(tmp_path: Path) -> None:
    rows = [Row.from_values("one", [3.0], "%"), Row.from_values("two", [1.0, 2.0], "%"), Row("mean", 4.0, "x", n=3)]
    assert [row.by_seed for row in rows] == [(3.0,), (1.0, 2.0), ()]
    write_results(tmp_path / "x.json", LEDGER, rows)
    assert [row.by_seed for row in read_results(tmp_path / "x.json")[1]] == [(3.0,), (1.0, 2.0), ()]


def test_score_rows_are_in_percent_and_skip_absent_classes() -> None:
    truth = np.array([[0, 1]], dtype=np.uint8)
    rows = {row.id: row for row in score_rows(scores(confusion(truth, truth, 2)), ("cat", "dog"), "val/")}
    assert rows["val/miou"].value == 100
    assert rows["val/miou"].note == "absent: dog"
    assert rows["val/iou/cat"].value == 100
    assert rows["val/fpr/background"].value == 0
    assert "val/iou/dog" not in rows
    with pytest.raises(ValueError, match="must name 2 classes, got 1"):
        score_rows(scores(confusion(truth, truth, 2)), ("cat",))


def test_no_foreground_has_no_row() -> None:
    empty = np.zeros((1, 2), dtype=np.uint8)
    assert "foreground_iou" not in {row.id for row in score_rows(scores(confusion(empty, empty, 1)), ("cat",))}


def test_ambiguous_and_endless_numbers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="got miou more than once"):
        write_results(tmp_path / "x.json", LEDGER, [Row("miou", 1, "%"), Row("miou", 2, "%")])
    with pytest.raises(ValueError, match="row miou: value must be finite, got nan"):
        Row("miou", float("nan"), "%")


@pytest.mark.parametrize(
    "content", ["[]", '{"ledger": {}}', '{"ledger": {"method": 1}, "rows": []}', '{"rows": [{"id": 1}]}', "{"]
)
def test_other_files_are_refused_by_name(tmp_path: Path, content: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(content)
    with pytest.raises(IgcamError, match=r"other\.json: is not"):
        read_results(path)
