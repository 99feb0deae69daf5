from __future__ import annotations

import numpy as np

from igcam.proposals.hierarchies import merge_regions, neighbours, nodes

INFINITE = -np.inf


def test_regions_touch_by_their_sides_only() -> None:
    labels = np.array([[0, 0, 1], [2, 3, 1]])
    expected = np.array([[0, 1, 1, 1], [1, 0, 0, 1], [1, 0, 0, 1], [1, 1, 1, 0]], bool)
    np.testing.assert_array_equal(neighbours(labels), expected)


def test_a_chain_merges_by_likeness_and_a_stranger_stays() -> None:
    # Regions 0 - 1 - 2 in a row, 3 apart; 1 and 2 are most alike, their union is as like 0 as told.
    likeness = np.full((4, 4), INFINITE, np.float32)
    likeness[0, 1] = likeness[1, 0] = 0.2
    likeness[1, 2] = likeness[2, 1] = 0.9
    asked = []

    def merge(first: int, second: int) -> np.ndarray:
        asked.append((first, second))
        return np.array([0.5, 7, 7, 7], np.float32)

    merges = merge_regions(likeness, merge)
    # What merge says of regions that are no neighbours does not count.
    assert [(first, second) for first, second, _ in merges] == [(1, 2), (0, 1)] == asked
    np.testing.assert_allclose([value for *_, value in merges], [0.9, 0.5])
    made = nodes(np.array([[0, 1, 2, 3]]), merges)
    np.testing.assert_array_equal(made, [[[0, 1, 1, 0]], [[1, 1, 1, 0]]])


def test_one_region_has_nothing_to_merge() -> None:
    assert merge_regions(np.full((1, 1), INFINITE, np.float32), lambda first, second: np.zeros(1, np.float32)) == []
    assert nodes(np.zeros((2, 2), int), []).shape == (0, 2, 2)
