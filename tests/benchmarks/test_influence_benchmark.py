from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest

AUDIT = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "influence_audit.py"))


def test_half_of_the_planted_tags_are_added_and_half_removed() -> None:
    tags = (np.random.default_rng(0).uniform(size=(200, 5)) < 0.3).astype(float)
    for rate in (5, 10, 20):
        changed = AUDIT["planted"](tags, rate, seed=3)
        count = round(rate * tags.sum() / 100)
        assert ((changed == 1) & (tags == 0)).sum() == count // 2
        assert ((changed == 0) & (tags == 1)).sum() == count - count // 2
    assert (AUDIT["planted"](tags, 10, 3) != AUDIT["planted"](tags, 10, 4)).any()


def test_area_and_precision_by_hand() -> None:
    wrong = np.array([[True, False], [False, True]])
    # Of four pairs of a wrong and a right tag three are in order; one of the two most suspicious is wrong.
    assert AUDIT["found"](np.array([[4.0, 3.0], [1.0, 2.0]]), wrong) == (0.75, 50.0)
    assert AUDIT["found"](np.zeros((2, 2)), wrong)[0] == pytest.approx(0.5)
