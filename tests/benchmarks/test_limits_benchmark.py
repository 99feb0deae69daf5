from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
LIMITS = pytest.importorskip("limits")
sys.path.pop(0)


def test_each_kind_of_error_is_put_right_alone() -> None:
    truth = np.zeros((60, 80), np.uint8)
    truth[20:40, 20:60] = 1
    truth[0, :] = 255
    mask = np.zeros_like(truth)
    mask[20:40, 30:45] = 1
    mask[20:40, 45:60] = 2  # another class
    mask[50:58, 2:10] = 1  # nothing there
    better = LIMITS.without_errors(truth, mask)
    np.testing.assert_array_equal(better["as-it-is"], mask)
    assert (better["classes"][20:40, 30:60] == 1).all()
    assert (better["classes"][20:40, 20:30] == 0).all()
    assert (better["missed"][20:40, 20:30] == 1).all()
    assert (better["missed"][20:40, 45:60] == 2).all()
    assert not better["invented"][50:58, 2:10].any()
    assert (better["foreground"] > 0).sum() == (truth > 0).sum()
    assert (better["foreground"][20:40, 20:30] == 1).all()
    assert (better["edges"][21, 20:22] == 1).all()
    assert (better["edges"][30, 24:28] == 0).all()


def test_a_mask_without_objects_stays_one() -> None:
    truth = np.zeros((10, 12), np.uint8)
    for mask in LIMITS.without_errors(truth, truth).values():
        np.testing.assert_array_equal(mask, truth)
